// The API key that a server may ask readers for. This tab alone keeps it, and it is sent in a header, never in an address.

const NAME = "stockstream-api-key";

/** The headers of every request for data. */
export function headers() {
  const key = sessionStorage.getItem(NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

/** No longer send what lets nobody in. */
export function forgetKey() {
  sessionStorage.removeItem(NAME);
}

/** Asks for a key in a dialog; `onKey` is called when one was given. */
export class KeyDialog {
  #dialog = document.getElementById("key");
  #input = document.getElementById("key-secret");

  constructor(onKey) {
    this.#dialog.addEventListener("cancel", (event) => event.preventDefault());
    document.getElementById("key-form").addEventListener("submit", (event) => {
      event.preventDefault();
      // What no header can carry is no key.
      sessionStorage.setItem(NAME, this.#input.value.replace(/[^\x21-\x7e]/g, ""));
      this.#input.value = "";
      this.#dialog.close();
      onKey();
    });
  }

  /** Ask, and say why. */
  ask(why) {
    document.getElementById("key-why").textContent = why;
    if (!this.#dialog.open) this.#dialog.showModal();
  }
}
