"""What an application writes: steps, refs, compositions and workflows."""
