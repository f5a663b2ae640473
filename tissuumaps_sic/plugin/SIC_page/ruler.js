/** How large things are on the screen. */

const TEN = 1; // µm of a screen pixel at 10x

/** The magnification of a view, as microscopes count. @param {number} mpp µm of a screen pixel */
export function magnificationOf(mpp) {
  const value = (10 * TEN) / mpp;
  return `${value < 10 ? value.toPrecision(2).replace(/\.0$/, "") : Math.round(value)}x`;
}

/**
 * A round length that is at most so wide.
 * @param {number} mpp µm of a screen pixel
 * @param {number} most screen pixels
 */
export function barOf(mpp, most) {
  const power = 10 ** Math.floor(Math.log10(mpp * most));
  const length = [5, 2, 1].map((each) => each * power).find((each) => each <= mpp * most) ?? power;
  return { width: length / mpp, text: length >= 1000 ? `${length / 1000} mm` : `${Number(length.toPrecision(1))} µm` };
}
