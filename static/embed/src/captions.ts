// Captions of what is being heard: the clause that sounds now, its current word marked by the audio clock.

import { h } from "./dom";
import type { Seg } from "./generated/wire";

interface Clause {
  seg: Seg;
  words: { element: HTMLElement; t0: number; t1: number }[];
  element: HTMLElement;
}

const KEPT = 200;

export class Captions {
  readonly element = h("p", { class: "captions", "aria-hidden": "true", dir: "auto", hidden: true, part: "captions" });
  #segs: Seg[] = [];
  #shown: Clause | null = null;

  add(seg: Seg): void {
    this.#segs.push(seg);
    if (this.#segs.length > KEPT) this.#segs.shift();
  }

  cut(rid: number): void {
    this.#segs = this.#segs.filter((seg) => seg.rid > rid);
    if (this.#shown && this.#shown.seg.rid <= rid) this.hide();
  }

  hide(): void {
    this.#shown = null;
    this.element.hidden = true;
    this.element.replaceChildren();
  }

  /** Shows what sounds at sample `t` of `rid`; returns the word, for tests and probes. */
  show(rid: number, t: number): string {
    const seg = this.#segs.findLast((item) => item.rid === rid && item.t0 <= t);
    if (!seg || t > seg.t0 + seg.len) return "";
    if (this.#shown?.seg !== seg) this.#draw(seg);
    let current = "";
    for (const word of this.#shown?.words ?? []) {
      const now = t >= word.t0 && t < word.t1;
      word.element.classList.toggle("now", now);
      word.element.classList.toggle("past", t >= word.t1);
      if (now) current = word.element.textContent ?? "";
    }
    return current;
  }

  #draw(seg: Seg): void {
    const words: Clause["words"] = [];
    const parts: (Node | string)[] = [];
    let at = 0;
    for (const [t0, t1, c0, c1] of seg.words) {
      const from = Math.max(at, c0 - seg.c0);
      const to = Math.max(from, c1 - seg.c0);
      parts.push(seg.text.slice(at, from));
      const element = h("span", {}, seg.text.slice(from, to));
      parts.push(element);
      words.push({ element, t0, t1 });
      at = to;
    }
    parts.push(seg.text.slice(at));
    this.element.replaceChildren(...parts);
    this.element.hidden = false;
    this.#shown = { seg, words, element: this.element };
  }
}
