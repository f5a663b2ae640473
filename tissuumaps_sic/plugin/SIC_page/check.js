/** A check of the labels: patches that chance has chosen, asked about one by one while nothing tells what they are labelled. */

import { answered, isEnough, renewed } from "./asked.js";
import { closeCard, showCard } from "./cards.js";
import { applyView } from "./labels.js";
import { drawMap } from "./maps.js";
import { takeState } from "./open.js";
import { drawSeeds } from "./overlay.js";
import { attempt, enqueue, follow } from "./requests.js";
import { change } from "./runs.js";
import * as server from "./server.js";
import { app, current, isBlind, layer, memory, noteSaved, placeOfSession, qualityHere, sessionRequest, show, subscribe, tell, update, user } from "./state.js";
import * as viewer from "./viewer.js";

/** @import { Check } from "./asked.js" */

const AT_ONCE = 20; // patches that are asked for; so many more answers are asked for where there are enough
const IDLE = 400; // ms without a request, before it is asked what the answers tell

const own = memory(() => ({ sending: /** @type {Set<number>} */ (new Set()), asked: "", answersOf: /** @type {unknown} */ (null) })); // sending: patches
// whose answers are on their way; asked: what was told last, of which answers
let bringBack = () => {}; // what was in view before the check
let timer = 0;

/** Show the check while it asks, and ask what it tells when it does not; returns how to stop that. */
export function followCheck() {
  const stops = [
    subscribe(() => [isBlind()], changeSight, true),
    subscribe(() => (isBlind() && !app.busy ? [app.state?.revision] : null), renew),
    subscribe(() => [wanted()], askSoon),
  ];
  return () => {
    for (const stop of stops) stop();
    clearTimeout(timer);
  };
}

const deckHere = () => (isBlind() ? /** @type {Check} */ (app.card) : null);

/** Hide all that tells what patches are labelled, or bring it back as it was. */
function changeSight() {
  viewer.setBare(app.isBare || isBlind());
  if (isBlind()) bringBack = viewer.keepPlace();
  else {
    bringBack();
    tell("You have left the check; C goes on with it");
  }
  if (!app.layer || !app.state) return;
  drawMap(app.labels, app.cells);
  applyView();
  drawSeeds();
}

/** Begin a check, or go on with the one that was begun. */
export function goOnChecking() {
  const { run, sample } = current();
  if (!run || !app.labels) tell("Run first (Space): a check judges labels");
  else if (!sample || qualityHere()?.found?.state === "void") beginCheck();
  else enqueue("Looking for the next patches", ask);
}

/** Choose patches by chance and ask about them; or about those of another session's check. @param {string | null} like */
export const beginCheck = (like = null) => enqueue("Choosing patches by chance", async () => {
  takeState(await follow("draw", (job) => server.draw(sessionRequest({ user: user(), job, ...like === null ? {} : { like } }))));
  noteSaved();
  await ask();
});

async function ask() {
  const { patches, wanted: goal } = await server.questions(sessionRequest({ n: AT_ONCE }));
  if (!patches.length) {
    update({ status: "All patches of the slide were asked about" });
    return;
  }
  const { answered: before = 0, unclear = 0 } = current().sample ?? {}, n = before - unclear;
  own.sending.clear();
  update({ why: null, gallery: null, picked: [], pointed: null, status: "" });
  showCard({ kind: "check", rows: patches, place: 0,
    asked: { before, unclear, goal: n < goal ? goal : n + AT_ONCE, said: new Map() } });
}

/** Say of which class the patch on the card is, null where one cannot tell, and go on. @param {number | null} label */
export async function answerCheck(label) {
  const deck = deckHere(), row = deck?.rows[deck.place];
  if (!deck || row === undefined) return;
  const next = answered(deck, row, label), isLast = next.place < 0 || isEnough(next);
  own.sending.add(row);
  const saved = change(() => ({ kind: "answer", patch: row, label }), label === null ? "Cannot tell: left out" : "Answered");
  if (!isLast) showCard(next);
  const isSaved = await saved;
  own.sending.delete(row);
  if (!deckHere()) return;
  if (isSaved && isLast) finish(next);
  else if (!isSaved && !isUnsent(row)) showCard(deck); // asked again
}

/** @param {number} row */
const isUnsent = (row) => app.unsent.some(({ patches, isAnswer }) => isAnswer && patches.includes(row));

/** Ask what comes, whenever the session has changed. */
async function renew() {
  const { sample, revision } = current();
  if (!sample) {
    closeCard();
    tell("The check is undone");
    return;
  }
  const found = await attempt("No questions", server.questions(sessionRequest({ n: AT_ONCE }))), deck = deckHere();
  if (!found || !deck || app.state?.revision !== revision) return;
  const onTheWay = new Set([...own.sending, ...app.unsent.filter((each) => each.isAnswer).flatMap(({ patches }) => patches)]);
  const next = renewed(deck, found.patches, sample, onTheWay);
  if (next.place < 0) finish(next);
  else if (next.place !== deck.place || next.rows.join() !== deck.rows.join()) showCard(next);
}

/** Enough is answered: show what it tells. @param {Check} deck */
function finish(deck) {
  closeCard();
  if (isEnough(deck)) tell("That is enough: “How good is it” shows what your answers tell of the labels");
  else tell("All patches of the slide were asked about");
  showQuality();
}

/** Bring into sight what a check tells. */
export function showQuality() {
  const box = document.getElementById("sic-quality"), group = box?.closest("details");
  if (group) group.open = true;
  box?.scrollIntoView({ block: "nearest" });
  /** @type {HTMLElement | null | undefined} */ (box?.querySelector("button"))?.focus();
}

/** Compare with the answers of another session, or (null) with none. @param {string | null} other */
export const compareAnswers = (other) => show({ checkOther: other });

/** The session whose answers are compared with these, where it is there. */
const otherReader = () => (app.checkOther !== app.session && app.state?.sessions.includes(app.checkOther ?? "\n") ? app.checkOther : null);

/** What is to be told of the labels, in a word; "" where nobody wants that. Without a check that is the same after each change. */
function wanted() {
  const { state } = app;
  if (!state?.run || !app.labels || app.busy || isBlind()) return "";
  return JSON.stringify([placeOfSession(), state.sample ? state.revision : "", otherReader()]);
}

function askSoon() {
  clearTimeout(timer);
  const of = wanted();
  if (of && of !== own.asked) timer = setTimeout(askQuality, app.state?.sample === own.answersOf ? IDLE : 0, of);
}

/** @param {string} of */
async function askQuality(of) {
  if (wanted() !== of) return;
  const place = placeOfSession(), other = otherReader(), { h5ad } = layer();
  let found = null, problem = "";
  try {
    found = await server.verify(sessionRequest({ ...other === null ? {} : { other } }));
  } catch (error) {
    problem = /** @type {Error} */ (error).message;
  }
  if (wanted() !== of || app.layer?.h5ad !== h5ad) return; // asked for anew
  Object.assign(own, { asked: of, answersOf: app.state?.sample });
  update({ quality: { of: place, found, problem } });
}
