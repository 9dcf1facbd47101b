// The workflows of benchmarks/in_memory.py, written for Medusa. Each line on stdin asks for one measurement,
// {"flow", "payload", "concurrency", "seconds"}; the answer is a line of JSON: {"runs", "seconds"}.
"use strict";

const readline = require("node:readline");
const { createStep, createWorkflow, parallelize, StepResponse, transform, WorkflowResponse } =
  require("@medusajs/workflows-sdk");

const STEPS = 10;
let undone = 0;

function flowsFor(payload, change, greet) {
  const changing = (index) =>
    createStep(
      `change-${payload}-${index}`,
      async (value) => new StepResponse(change(value)),
      async () => {
        undone += 1;
      },
    );
  const broken = createStep(`break-${payload}`, async () => {
    throw new Error("this step always fails");
  });
  const sayHello = createStep(`say-hello-${payload}`, async () => new StepResponse("hello"));
  const sayBack = createStep(`say-back-${payload}`, async (value) => new StepResponse(value));
  const steps = Array.from({ length: STEPS }, (_, index) => changing(index));

  const chained = (through, input) => through.reduce((value, step) => step(value), input);
  return {
    chain: createWorkflow(`chain-${payload}`, (input) => new WorkflowResponse(chained(steps, input))),
    failing: createWorkflow(
      `failing-${payload}`,
      (input) => new WorkflowResponse(broken(chained(steps.slice(0, -1), input))),
    ),
    parallel: createWorkflow(
      `parallel-${payload}`,
      (input) => new WorkflowResponse(parallelize(...steps.map((step) => step(input))).at(-1)),
    ),
    hello: createWorkflow(
      `hello-${payload}`,
      (input) => new WorkflowResponse(transform({ greeting: sayHello(), who: sayBack(input) }, greet)),
    ),
  };
}

const PAYLOADS = {
  plain: {
    input: 1,
    name: "Ada",
    ...flowsFor(
      "plain",
      (value) => value + 1,
      ({ greeting, who }) => `${greeting}, ${who}`,
    ),
  },
  model: {
    input: { id: "o1", quantity: 1, note: "" },
    ...flowsFor(
      "model",
      ({ id, quantity, note }) => ({ id, quantity: quantity + 1, note }),
      ({ greeting, who }) => ({ id: who.id, quantity: who.quantity, note: greeting }),
    ),
  },
};

function check(flow, payload, { result, errors }) {
  const added = { chain: STEPS, parallel: 1, hello: 0 }[flow];
  let right = errors.length === 1;
  if (flow !== "failing") {
    const greeted = payload === "plain" ? result === "hello, Ada" : result.note === "hello" && result.quantity === 1;
    const counted = (payload === "plain" ? result : result.quantity) === 1 + added;
    right = errors.length === 0 && (flow === "hello" ? greeted : counted);
  }
  if (!right) throw new Error(`${flow} with a ${payload} gave ${JSON.stringify({ result, errors })}`);
}

async function measure({ flow, payload, concurrency, seconds }) {
  const workflow = PAYLOADS[payload][flow];
  const input = (flow === "hello" && PAYLOADS[payload].name) || PAYLOADS[payload].input;
  const started = performance.now();
  const until = started + seconds * 1000;
  let runs = 0;
  undone = 0;
  const worker = async () => {
    do {
      check(flow, payload, await workflow().run({ input, throwOnError: false }));
      runs += 1;
    } while (performance.now() < until);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
  const took = (performance.now() - started) / 1000;
  if (flow === "failing" && undone !== runs * (STEPS - 1)) throw new Error(`${undone} undone in ${runs} runs`);
  return { runs, seconds: took };
}

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await measure(JSON.parse(line)))}\n`);
  }
  process.exit(0);
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
