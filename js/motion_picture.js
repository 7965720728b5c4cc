/** The small picture of a motion, whose frames play while it is pointed at. */

import { pictureAddress } from "./motion_files.js";

/** @typedef {import("./motion_files.js").MotionFile} MotionFile */

const NODE = 124 / 88; // the shape of the box on a node, which has none while it is off the screen
/** @type {WeakMap<Element, () => void>} */
const waiting = new WeakMap();

/**
 * Fills its parent's box as far as the frames' shape lets it; a sign instead where the file holds no picture.
 * @param {MotionFile | null} file
 * @param {IntersectionObserver} [seen] of {@link whenSeen}, to fetch the picture only then
 */
export function motionPicture(file, seen) {
  const box = document.createElement("div");
  box.className = "me-motion-picture";
  if (!file?.pictures) {
    box.classList.add(file?.trouble ? "me-motion-broken" : "me-motion-blank");
    return box;
  }
  const frame = document.createElement("div");
  frame.className = "me-motion-frame";
  const strip = document.createElement("img");
  Object.assign(strip, { alt: "", draggable: false });
  strip.style.width = `${file.pictures * 100}%`;
  strip.style.animationTimingFunction = `steps(${file.pictures})`;
  strip.style.animationDuration = `${file.pictures * 0.16}s`;
  strip.addEventListener("load", () => {
    const shape = strip.naturalWidth / file.pictures / strip.naturalHeight;
    frame.style.aspectRatio = String(shape);
    frame.classList.toggle("me-motion-wide", shape > (box.clientWidth / box.clientHeight || NODE));
  });
  strip.addEventListener("error", () => box.classList.add("me-motion-blank"));
  const fetch = () => {
    strip.src = pictureAddress(file);
  };
  if (seen) {
    waiting.set(box, fetch);
    seen.observe(box);
  } else fetch();
  frame.append(strip);
  box.append(frame);
  return box;
}

/**
 * Fetches the pictures in a list that scrolls as they come near.
 * @param {HTMLElement} list
 */
export function whenSeen(list) {
  const options = { root: list, rootMargin: "200px" };
  return new IntersectionObserver((entries, observer) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      waiting.get(target)?.();
    }
  }, options);
}
