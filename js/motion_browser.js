/** The motions in models/motion_embeddings, to choose one of. */

import { notUploaded } from "./api.js";
import { listMotions, uploadMotion } from "./motion_files.js";
import { motionPicture, whenSeen } from "./motion_picture.js";
import { date, familyTitle, kind, matches, measures, title } from "./motion_words.js";
import { causeOf, word } from "./words.js";

/**
 * @typedef {import("./motion_files.js").MotionFile} MotionFile
 * @typedef {{chosen: string, choose: (file: string) => void, families: () => Promise<string[]>}} Wanted
 *   chosen: the present file; families: of the models that the motion is put on, as far as known
 */

/**
 * Opens the browser over the editor.
 * @param {Wanted} wanted
 */
export function browseMotions(wanted) {
  const browser = new MotionBrowser(wanted);
  document.body.append(browser.element);
  browser.open();
}

class MotionBrowser {
  #wanted;
  #heading = document.createElement("h2");
  #filter = document.createElement("input");
  #list = document.createElement("div");
  #note = document.createElement("div");
  #model = document.createElement("div");
  /** @type {MotionFile[]} */
  #files = [];
  /** @type {string[]} */
  #families = [];
  /** @type {WeakMap<Element, MotionFile>} */
  #shown = new WeakMap();
  #asked = 0;
  #listed = false;
  #trouble = "";
  #seen = whenSeen(this.#list);

  /** @param {Wanted} wanted */
  constructor(wanted) {
    this.#wanted = wanted;
    this.element = document.createElement("dialog");
    this.element.className = "me-motions";
    this.element.setAttribute("aria-label", word("motion.title"));
    this.#heading.textContent = word("motion.title");
    Object.assign(this.#filter, { type: "search", placeholder: word("motion.filter") });
    this.#filter.setAttribute("aria-label", word("motion.filter"));
    this.#filter.addEventListener("input", () => this.#show());
    const head = document.createElement("header");
    head.append(
      this.#heading,
      this.#filter,
      sign("refresh", word("motion.refresh"), () => this.#read()),
      sign("close", word("motion.close"), () => this.element.close()),
    );
    this.#model.className = "me-motions-model";
    this.#list.className = "me-motions-list";
    this.#list.setAttribute("role", "listbox");
    this.#list.setAttribute("aria-label", word("motion.title"));
    this.#note.className = "me-motions-note";
    this.#note.setAttribute("aria-live", "polite");
    const inside = document.createElement("div");
    inside.append(head, this.#model, this.#list, this.#note);
    this.element.append(inside);
    this.element.addEventListener("keydown", (event) => this.#key(event));
    this.element.addEventListener("close", () => {
      this.#seen.disconnect();
      this.element.remove();
    });
    this.#closeBeside();
    this.element.addEventListener("dragover", (event) => event.dataTransfer?.types.includes("Files") && event.preventDefault());
    this.element.addEventListener("drop", (event) => this.#take(event));
    // Nothing that is done here is meant for the graph behind.
    for (const type of ["keyup", "pointerdown", "wheel", "paste", "copy"]) {
      this.element.addEventListener(type, (event) => event.stopPropagation());
    }
  }

  open() {
    this.element.showModal();
    this.#filter.focus();
    this.#read();
  }

  /** A press beside the dialog closes it; one that began in it, such as to mark a text, does not. */
  #closeBeside() {
    let beganBeside = false;
    this.element.addEventListener("pointerdown", (event) => (beganBeside = event.target === this.element));
    this.element.addEventListener("click", (event) => {
      if (beganBeside && event.target === this.element) this.element.close();
    });
  }

  /**
   * Files dropped on it are put into the folder.
   * @param {DragEvent} event
   */
  async #take(event) {
    event.stopPropagation();
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!files.length) return; // a text, for the filter
    event.preventDefault();
    let trouble = "";
    for (const file of files) {
      try {
        await uploadMotion(file);
        this.#filter.value = ""; // so that it is seen
      } catch (error) {
        trouble = notUploaded(file, error);
      }
    }
    await this.#read();
    if (!trouble) return;
    this.#trouble = trouble;
    this.#show();
  }

  async #read() {
    const asked = ++this.#asked;
    try {
      const [{ files, folder }, families] = await Promise.all([listMotions(), this.#wanted.families()]);
      if (asked !== this.#asked) return;
      this.#families = families;
      const fits = (/** @type {MotionFile} */ file) => Number(!this.#isOther(file));
      [this.#listed, this.#trouble] = [true, ""];
      this.#files = files.sort((one, other) => fits(other) - fits(one));
      this.#model.textContent = families.length
        ? word("motion.connected", { family: families.map(familyTitle).join(" · ") })
        : "";
      this.#heading.title = folder;
      this.#show();
      this.#cards()
        .find((card) => card.classList.contains("me-motion-chosen"))
        ?.scrollIntoView({ block: "nearest" });
    } catch (error) {
      if (asked !== this.#asked) return;
      this.#files = [];
      this.#trouble = word("motion.unlisted", { cause: causeOf(error) });
      this.#show();
    }
  }

  #show() {
    const found = this.#files.filter((file) => matches(file, this.#filter.value.trim()));
    this.#list.replaceChildren(...found.map((file) => this.#card(file)));
    this.#list.hidden = !found.length;
    const none = !this.#listed || found.length ? "" : word(this.#files.length ? "motion.no_match" : "motion.none");
    this.#note.textContent = this.#trouble || none;
    this.#note.hidden = !this.#note.textContent;
    this.#note.classList.toggle("me-clip-error", !!this.#trouble);
    const cards = this.#cards();
    const first = cards.find((card) => card.classList.contains("me-motion-chosen")) ?? cards[0];
    if (first) first.tabIndex = 0;
  }

  /** @param {MotionFile} file */
  #card(file) {
    const card = document.createElement("button");
    const chosen = file.name === this.#wanted.chosen;
    card.type = "button";
    card.tabIndex = -1;
    card.className = "me-motion-card";
    card.classList.toggle("me-motion-chosen", chosen);
    card.setAttribute("role", "option");
    card.setAttribute("aria-selected", String(chosen));
    card.title = file.trouble ?? [file.name, file.prompt].filter(Boolean).join("\n");
    card.append(
      motionPicture(file, this.#seen),
      line("me-motion-name", title(file)),
      line("", kind(file)),
      line("me-motion-small", measures(file)),
      line("me-motion-small", date(file)),
    );
    if (this.#isOther(file)) {
      const mark = line("me-motion-mark", word("motion.other_family"));
      const [family, connected] = [familyTitle(file.family), this.#families.map(familyTitle).join(" · ")];
      card.title = word("motion.other_family_why", { family, connected });
      card.classList.add("me-motion-other");
      card.append(mark);
    }
    card.addEventListener("click", () => this.#choose(file));
    this.#shown.set(card, file);
    return card;
  }

  /**
   * Whether it is known to be of no use for the connected model.
   * @param {MotionFile} file
   */
  #isOther(file) {
    return this.#families.length > 0 && !file.trouble && !this.#families.includes(file.family ?? "");
  }

  /** @param {MotionFile} file */
  #choose(file) {
    if (file.trouble) return;
    this.element.close();
    this.#wanted.choose(file.name);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    event.stopPropagation();
    if (event.isComposing) return; // Enter and Escape are the input method's
    const cards = this.#cards();
    const at = cards.findIndex((card) => card === document.activeElement);
    if (event.key === "Escape" && this.#filter.value && at < 0) {
      // The first one empties the filter, as in any search box; the next one closes.
      event.preventDefault();
      this.#filter.value = "";
      this.#show();
    } else if (at < 0) {
      if (document.activeElement !== this.#filter || !cards.length) return;
      const file = this.#shown.get(cards[0]);
      if (event.key === "Enter" && this.#filter.value && file) this.#choose(file);
      else if (event.key === "ArrowDown") this.#focus(cards.find((card) => card.tabIndex === 0) ?? cards[0]);
      else return;
      event.preventDefault();
    } else {
      const to = target(event.key, at, cards);
      if (to !== null && to < 0) this.#filter.focus();
      else if (to !== null) this.#focus(cards[Math.min(to, cards.length - 1)]);
      else if (event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.metaKey) {
        this.#filter.focus(); // what is typed now is written there
        return;
      } else return;
      event.preventDefault();
    }
  }

  /** @param {HTMLElement} card */
  #focus(card) {
    for (const other of this.#cards()) other.tabIndex = other === card ? 0 : -1;
    card.focus();
    card.scrollIntoView({ block: "nearest" });
  }

  #cards() {
    return /** @type {HTMLElement[]} */ ([...this.#list.children]);
  }
}

/**
 * Where a key leads to from card `at`: a negative number above the first row, nothing where it is no such key.
 * @param {string} key
 * @param {number} at
 * @param {HTMLElement[]} cards
 */
function target(key, at, cards) {
  const columns = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
  const rows = Math.max(1, Math.floor((cards[0].parentElement?.clientHeight ?? 0) / (cards[0].offsetHeight || 1)));
  switch (key) {
    case "ArrowRight":
      return at + 1;
    case "ArrowLeft":
      return Math.max(0, at - 1);
    case "ArrowDown":
      return at + columns;
    case "ArrowUp":
      return at - columns;
    case "PageDown":
      return at + rows * columns;
    case "PageUp":
      return Math.max(at % columns, at - rows * columns);
    case "Home":
      return 0;
    case "End":
      return cards.length - 1;
    default:
      return null;
  }
}

/**
 * @param {string} className
 * @param {string} text
 */
function line(className, text) {
  const element = document.createElement("span");
  element.className = className;
  element.textContent = text;
  return element;
}

/**
 * A button with a sign of the editor's own.
 * @param {string} icon
 * @param {string} label
 * @param {() => void} act
 */
function sign(icon, label, act) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = `me-motions-${icon}`;
  button.title = label;
  button.setAttribute("aria-label", label);
  const picture = document.createElement("i");
  picture.className = `pi pi-${icon === "close" ? "times" : icon}`;
  button.append(picture);
  button.addEventListener("click", act);
  return button;
}
