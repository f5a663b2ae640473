/** Back and forth: undo says what it takes back, and asks before it takes back what is of an earlier day. */

import { daysAgo, tellDay, tellStep } from "./days.js";
import { change } from "./runs.js";
import { app, current, memory, subscribe, update, user } from "./state.js";

/** asked: the step that was asked about, which a second press takes back; allowed: days ago that may be undone, since the person has said so,
 * until a step of today is undone. */
const own = memory(() => ({ asked: "", allowed: 0 }));

/** Take the last step back. */
export function undo() {
  const step = app.state?.undo;
  // What is asked about is said at once; a press after that one means yes.
  if (step && asks(step) && own.asked === question(step)) own.allowed = daysAgo(step.time, new Date());
  let told = "";
  return change(() => {
    const next = current().undo;
    if (!next) {
      update({ status: "There is nothing to undo" });
      return null;
    }
    if (asks(next)) {
      own.asked = question(next);
      update({ status: `The next step back is of ${tellDay(next.time, new Date())}: ${
        tellStep({ ...next, time: new Date().toISOString() }, user(), new Date())}. Undo again to take it back` });
      return null;
    }
    if (daysAgo(next.time, new Date()) <= 0) own.allowed = 0;
    told = tellStep(next, user(), new Date());
    return { kind: "undo" };
  }, () => `Undone: ${told}`);
}

/** Do again what was undone last. */
export function redo() {
  let told = "";
  return change(() => {
    const next = current().redo;
    if (!next) {
      update({ status: "There is nothing to do again" });
      return null;
    }
    told = tellStep(next, user(), new Date());
    return { kind: "redo" };
  }, () => `Done again: ${told}`);
}

/** @param {import("./server.js").Step} step */
const question = (step) => `${current().revision} ${step.time} ${step.text}`;

/** Whether a step is of an earlier day than may be undone without asking. @param {import("./server.js").Step} step */
const asks = (step) => daysAgo(step.time, new Date()) > own.allowed;

/** Ask again where another slide or session is open; returns how to stop that. */
export const followAsked = () => subscribe(() => (app.state ? [app.layer, app.session] : null), () => {
  Object.assign(own, { asked: "", allowed: 0 });
});
