/** A closed store: read through a view, written by `update` alone, and whoever looks at a part is told when it changes. */

/**
 * @template {object} T
 * @param {T} initial every field there is, as it begins
 */
export function makeStore(initial) {
  let state = initial;
  let isDue = false, isHeld = false;
  /** @type {Set<{ look: () => unknown[] | null, listener: () => void, isPrompt: boolean, seen: unknown[] | null }>} */
  const subscriptions = new Set();
  const getters = Object.keys(initial).map((name) =>
    [name, { enumerable: true, get: () => state[/** @type {keyof T} */ (name)] }]);
  /** The fields as they are now; writing to one is an error. */
  const view = /** @type {Readonly<T>} */ (Object.freeze(Object.defineProperties({}, Object.fromEntries(getters))));

  /**
   * Change some fields. A value that equals the one that is there changes nothing, nor does a part of one that does.
   * Listeners are called once the present task is through, once for all that it changed.
   * @param {Partial<T>} patch
   */
  function update(patch) {
    const next = { ...state };
    for (const name of /** @type {(keyof T)[]} */ (Object.keys(patch))) {
      if (!Object.hasOwn(initial, name)) throw new TypeError(`There is no field “${String(name)}”.`);
      next[name] = share(state[name], /** @type {T[keyof T]} */ (patch[name]));
    }
    state = next;
    tellSoon();
  }

  function tellSoon() {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      call(isHeld);
    });
  }

  /** Call those who look at what has changed, now. */
  const flush = () => call(false);

  /** @param {boolean} onlyPrompt */
  function call(onlyPrompt) {
    for (const each of [...subscriptions]) {
      if (onlyPrompt && !each.isPrompt) continue;
      try {
        const now = subscriptions.has(each) ? each.look() : null;
        if (!now || each.seen?.length === now.length && now.every((value, i) => Object.is(value, each.seen?.[i]))) continue;
        each.seen = now;
        each.listener();
      } catch (error) {
        queueMicrotask(() => { throw error; }); // told as any other, and the other listeners are called
      }
    }
  }

  /** Let nobody be called until `release`, but by `flush` or who is prompt. */
  function hold() { isHeld = true; }

  function release() {
    isHeld = false;
    tellSoon();
  }

  /**
   * Call `listener` when one of the values that `look` gives is another one; where it gives null, not yet.
   * @param {() => unknown[] | null} look
   * @param {() => void} listener
   * @param {boolean} isPrompt whether to call it while all is held
   * @returns {() => void} how to stop that
   */
  function subscribe(look, listener, isPrompt = false) {
    const subscription = { look, listener, isPrompt, seen: look() };
    subscriptions.add(subscription);
    return () => { subscriptions.delete(subscription); };
  }

  /** @type {(() => void)[]} */
  const beginnings = [];

  /**
   * What a module remembers and nobody else looks at: it begins anew with all that is held here.
   * @template {object} M
   * @param {() => M} make how it begins
   * @returns {M} the same object for ever
   */
  function memory(make) {
    const kept = make();
    beginnings.push(() => { Object.assign(kept, make()); });
    return kept;
  }

  /** Begin anew. */
  function reset() {
    update(initial);
    for (const begin of beginnings) begin();
  }

  return { view, update, flush, hold, release, subscribe, memory, reset };
}

/** @param {unknown} value @returns {value is Record<string, unknown>} */
const isRecord = (value) => value !== null && typeof value === "object" && Object.getPrototypeOf(value) === Object.prototype;

/** Whether two values of JSON are equal; of others, whether they are the same. @type {(a: unknown, b: unknown) => boolean} */
function isEqual(a, b) {
  if (Object.is(a, b)) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((value, i) => isEqual(value, b[i]));
  if (!isRecord(a) || !isRecord(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && isEqual(a[name], b[name]));
}

/**
 * Return the new value, with what equals the old one of each field as the old one.
 * @template V
 * @param {V} old
 * @param {V} value
 * @returns {V}
 */
function share(old, value) {
  if (isEqual(old, value)) return old;
  if (!isRecord(old) || !isRecord(value)) return value;
  return /** @type {V} */ (Object.fromEntries(Object.entries(value).map(([name, part]) => [name, share(old[name], part)])));
}
