import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import * as requests from "../../tissuumaps_sic/plugin/SIC_page/requests.js";
import * as server from "../../tissuumaps_sic/plugin/SIC_page/server.js";
import { app, reset, subscribe, update } from "../../tissuumaps_sic/plugin/SIC_page/state.js";

let asked = [];
let answers = {};

beforeEach((context) => {
  reset();
  update({ layer: { uid: "patches", h5ad: "a.h5ad", grid: null } });
  asked = [];
  answers = {};
  context.mock.method(globalThis, "fetch", async (address, { body }) => {
    const endpoint = address.replace(/^.*\/plugins\/SIC\//, "");
    asked.push(endpoint);
    const [status, answer] = await (answers[endpoint]?.(JSON.parse(body)) ?? [200, {}]);
    return new Response(JSON.stringify(answer), { status });
  });
});

afterEach(() => requests.onConflict(async () => {}));

test("requests are made one after another, and what is under way is known", async () => {
  const order = [];
  const slow = requests.enqueue("Slow", async () => {
    order.push(app.busy.kind);
    await new Promise((done) => { setTimeout(done, 5); });
    order.push("done");
  });
  const quick = requests.enqueue("Quick", async () => { order.push(app.busy.kind); });
  assert.deepEqual(await Promise.all([slow, quick]), [true, true]);
  assert.deepEqual(order, ["Slow", "done", "Quick"]);
  assert.equal(app.busy, null);
});

test("what goes wrong is told, and the next request is made and takes it away", async () => {
  answers.write = () => [507, { error: "the disk is full" }];
  assert.equal(await requests.enqueue("Writing", async () => { await server.write({}); }), false);
  assert.deepEqual([app.error, app.status, app.busy], ["the disk is full", "", null]);
  assert.equal(await requests.enqueue("Again", async () => {}), true);
  assert.equal(app.error, "");
});

test("an answer that is no JSON, and a server that is gone, are told in words", async (context) => {
  context.mock.method(globalThis, "fetch", async () => new Response("<html>", { status: 502 }));
  await requests.enqueue("Writing", async () => { await server.write({}); });
  assert.equal(app.error, "The server answered with an error (502). Try again; the window that it was started in may tell more");
  context.mock.method(globalThis, "fetch", async () => { throw new TypeError("refused"); });
  await requests.enqueue("Writing", async () => { await server.write({}); });
  assert.match(app.error, /does not answer/);
});

test("a session that somebody else has changed is loaded again, and why is told", async () => {
  let reloads = 0;
  requests.onConflict(async () => { reloads++; });
  answers.change = () => [409, { error: "changed in another window" }];
  await requests.enqueue("Saving", async () => { await server.change({}); });
  assert.deepEqual([reloads, app.error], [1, "changed in another window"]);
  requests.onConflict(async () => { throw new Error("gone since"); });
  await requests.enqueue("Saving", async () => { await server.change({}); });
  assert.equal(app.error, "gone since");
});

test("the page stands still during a short request and is drawn once, when all of it is there", async () => {
  let draws = 0;
  const stop = subscribe(() => [app.view, app.status], () => { draws++; });
  await requests.enqueue("Drawing", async () => {
    update({ view: "labels" });
    await new Promise((done) => { setTimeout(done, 5); });
    update({ status: "Drawn" });
    assert.equal(draws, 0);
  });
  assert.equal(draws, 1);
  stop();
});

/** A job that is stopped when the server is told to cancel it. */
function begin() {
  let stop;
  const stopped = new Promise((_, reject) => { stop = () => reject(new server.ServerError(server.STOPPED, "stopped")); });
  answers.cancel = ({ job }) => { assert.equal(job, app.busy.job.token); stop(); return [200, {}]; };
  let begun;
  const isBegun = new Promise((resolve) => { begun = resolve; });
  const done = requests.enqueue("Running", () => requests.follow("run", () => { begun(); return stopped; }));
  return { isBegun, done };
}

test("a job that a person stops leaves the labels, and says so", async () => {
  const { isBegun, done } = begin();
  assert.equal(requests.stop(), false);
  await isBegun;
  assert.match(app.busy.job.token, /^[0-9a-z]{24}$/);
  assert.ok(requests.stop());
  assert.ok(requests.stop());
  assert.equal(app.busy.job.isStopping, true);
  assert.equal(await done, true);
  assert.deepEqual([app.error, app.status], ["", "Stopped; the labels are as they were"]);
  assert.deepEqual(asked, ["cancel"]);
  assert.equal(requests.stop(), false);
});

test("a job that gives way to a change says nothing", async () => {
  assert.equal(requests.supersede(), null);
  const { isBegun, done } = begin();
  await isBegun;
  assert.equal(requests.supersede(), "run");
  await done;
  assert.deepEqual([app.error, app.status], ["", ""]);
});
