// What the page can say of a problem.

/** A problem in plain words: the key of a text, and what the text names. */
export class PageError extends Error {
  constructor(key, values = {}) {
    super(key);
    Object.assign(this, { key, values });
  }
}
