"""Whose the files of a store are, and what a process makes of one that it may not open."""

import os
import pwd
from pathlib import Path

from daemon.store.peers import Peers
from daemon.store.sqlite import SqliteStore
from tests.contract.records import APP, ME, started


async def test_what_root_makes_belongs_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sagad-shop"
    folder.mkdir()
    os.chown(folder, somebody(), -1)
    store = SqliteStore(folder / "sagad.db")

    await store.open()
    await store.register(APP, ME, lease_s=6)
    store.on_hint(lambda: None)
    await store.commit(started("1"))
    owners = {each.suffix or each.name: each.stat().st_uid for each in folder.rglob("*")}
    await store.aclose()

    made = [".db", ".db-wal", ".db-shm", ".db-peers", "opening", "next", "writing", ".lock", ".fifo"]
    assert owners == dict.fromkeys(made, somebody())


async def test_what_was_there_stays_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "other" / "sagad.db"
    file.parent.mkdir()
    file.touch()
    folder = tmp_path / "sagad-shop"
    folder.mkdir()
    os.chown(folder, somebody(), -1)
    (folder / "sagad.db").symlink_to(file)
    store = SqliteStore(folder / "sagad.db")

    await store.open()
    await store.commit(started("1"))
    await store.aclose()

    assert file.stat().st_uid == os.geteuid()


def test_a_lock_that_we_may_not_look_at_is_held(tmp_path: Path) -> None:
    lock = tmp_path / "ada.lock"
    lock.touch(mode=0)
    peers = Peers(tmp_path)

    me = os.geteuid()
    os.seteuid(somebody())
    try:
        lives = peers.lives("ada")
    finally:
        os.seteuid(me)

    assert lives


def somebody() -> int:
    """Return a user: another one than us where we are root, who may do everything."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else os.geteuid()
