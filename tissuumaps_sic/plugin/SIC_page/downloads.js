/** Files that the page gives to the person. */

/** @param {string} name @param {BlobPart} content @param {string} [type] */
export function download(name, content, type = "application/octet-stream") {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type }));
  link.download = name;
  link.click();
  URL.revokeObjectURL(link.href);
}
