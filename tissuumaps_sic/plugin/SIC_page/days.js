/** When something was done, as people say it. */

/** The day of a time, in the time of this computer: a number that tells days apart. @param {Date} time */
const dayOf = (time) => Math.round(new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime() / 86_400_000);

/** How many days ago a time is: 0 today, 1 yesterday; 0 too where it is none. @param {string} time @param {Date} now */
export function daysAgo(time, now) {
  const then = new Date(time);
  return Number.isNaN(then.getTime()) ? 0 : dayOf(now) - dayOf(then);
}

/** The day in words: today, yesterday, or its date. @param {string} time @param {Date} now */
export function tellDay(time, now) {
  const days = daysAgo(time, now);
  if (days === 0) return "today";
  if (days === 1) return "yesterday";
  const then = new Date(time), isThisYear = then.getFullYear() === now.getFullYear();
  return then.toLocaleDateString("en", { day: "numeric", month: "long", ...isThisYear ? {} : { year: "numeric" } });
}

/** @param {string} time */
export const tellClock = (time) => new Date(time).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });

/**
 * A step in words: what, and of which day and by whom where that is not today and oneself.
 * @param {{ text: string, time: string, user: string }} step
 * @param {string} self
 * @param {Date} now
 */
export function tellStep({ text, time, user }, self, now) {
  const more = [daysAgo(time, now) === 0 ? "" : tellDay(time, now), user && user !== self ? user : ""].filter(Boolean);
  return more.length ? `${text} (${more.join(", ")})` : text;
}
