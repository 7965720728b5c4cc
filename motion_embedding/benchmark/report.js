"use strict";
// Every text from the data goes through textContent: prompts are written by anyone.
(() => {
  const data = JSON.parse(byId("data").textContent);
  const { columns, methods, clips, prompts } = data;
  const items = data.items.map(([method, clip, prompt, seed, status, error, size, tracks, ...values], index) => (
    { index, method, clip, prompt, seed, status, error, size, tracks, values }
  ));
  const BATCH = 12;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

  function byId(id) { return document.getElementById(id); }
  function make(tag, properties = {}, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }
  const shown = (value, column) => value.toFixed(column.decimals).replace("-", "\u2212");

  // ------------------------------------------------------------------ scenes: what methods are compared on
  const scenes = [...items.reduce((found, item) => {
    const key = [item.clip, item.prompt, item.seed].join("/");
    if (!found.has(key)) found.set(key, { clip: item.clip, prompt: item.prompt, seed: item.seed, items: [] });
    found.get(key).items.push(item);
    return found;
  }, new Map()).values()];
  const sceneOf = new Map(scenes.flatMap((scene) => scene.items.map((item) => [item.index, scene])));

  // ------------------------------------------------------------------ players: one per picture, alive near the view
  class Player {
    constructor(size, media, tracks) {
      this.media = media;
      this.tracks = tracks;
      this.screen = make("div", { className: "screen" });
      this.screen.style.aspectRatio = `${size[0]} / ${size[1]}`;
      this.video = make("video", { muted: true, playsInline: true, preload: "auto" });
      this.canvas = make("canvas");
      this.screen.append(this.video, this.canvas);
    }
    attach() { this.video.src = "data:video/mp4;base64," + byId(this.media).textContent.trim(); }
    detach() {
      this.video.pause();
      this.video.removeAttribute("src");
      this.video.load();
      this.clear();
    }
    clear() { this.canvas.getContext("2d").clearRect(0, 0, this.canvas.width, this.canvas.height); }
    read() {
      const block = byId(this.tracks);
      this.drawn ??= block ? JSON.parse(block.textContent) : { width: 1, height: 1, tracks: [] };
      return this.drawn;
    }
    draw() {
      const { width, height, tracks } = this.read();
      const density = window.devicePixelRatio || 1;
      const [across, down] = [this.screen.clientWidth * density, this.screen.clientHeight * density].map(Math.round);
      if (this.canvas.width !== across || this.canvas.height !== down) Object.assign(this.canvas, { width: across, height: down });
      const pen = this.canvas.getContext("2d");
      pen.clearRect(0, 0, across, down);
      pen.lineWidth = 1.6 * density;
      pen.lineJoin = pen.lineCap = "round";
      // Tracks are in tenths of a pixel, pixel centres at whole numbers.
      const place = ([x, y]) => [((x / 10 + 0.5) * across) / width, ((y / 10 + 0.5) * down) / height];
      for (const [number, track] of tracks.entries()) {
        const frame = Math.min(track.length - 1, Math.floor((this.video.currentTime / (this.video.duration || 1)) * track.length));
        const points = track.slice(0, frame + 1).map((point) => point && place(point));
        pen.strokeStyle = pen.fillStyle = `hsl(${(number * 137.5) % 360} 95% 60%)`;
        pen.beginPath();
        points.forEach((point, index) => { if (point) pen[index && points[index - 1] ? "lineTo" : "moveTo"](...point); });
        pen.stroke();
        const last = points.at(-1);
        if (!last) continue;
        pen.beginPath();
        pen.arc(...last, 2.4 * density, 0, 7);
        pen.fill();
      }
    }
  }

  // The players of a scene start together, last equally long, and start again once all have ended.
  class Group {
    constructor(players) {
      this.players = players;
      this.alive = false;
      for (const { video } of players) {
        video.addEventListener("loadeddata", () => this.start());
        video.addEventListener("ended", () => this.restart());
        video.addEventListener("error", () => this.restart());
      }
    }
    show() {
      if (this.alive) return;
      this.alive = true;
      this.players.forEach((player) => player.attach());
    }
    hide() {
      if (!this.alive) return;
      this.alive = false;
      this.players.forEach((player) => player.detach());
    }
    get working() { return this.players.map(({ video }) => video).filter((video) => !video.error); }
    start() {
      const videos = this.working;
      if (!this.alive || videos.some((video) => video.readyState < 2)) return;
      const longest = Math.max(...videos.slice(-Math.max(1, videos.length - 1)).map((video) => video.duration));
      for (const video of videos) {
        video.playbackRate = Math.min(16, Math.max(0.0625, video.duration / longest));
        video.currentTime = 0;
        if (byId("play").checked) video.play().catch(() => {});
      }
    }
    restart() {
      if (this.working.every((video) => video.ended)) setTimeout(() => this.start(), 250);
    }
    toggle(playing) {
      for (const video of this.working) playing ? video.play().catch(() => {}) : video.pause();
      if (playing) this.restart();
    }
  }

  const groups = new Map();
  const near = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const group = groups.get(target);
      isIntersecting ? group.show() : group.hide();
    }
  });

  function redraw() {
    if (!byId("tracks").checked) return;
    for (const group of groups.values()) if (group.alive) group.players.forEach((player) => player.draw());
    requestAnimationFrame(redraw);
  }

  // ------------------------------------------------------------------ one scene as elements
  function emptyScreen(size, words) {
    const screen = make("div", { className: "screen" }, make("span", { textContent: words }));
    screen.style.aspectRatio = `${size[0]} / ${size[1]}`;
    return screen;
  }
  function scoresOf(item) {
    const list = make("dl");
    columns.forEach((column, index) => {
      if (item.values[index] === null) return;
      list.append(make("dt", { textContent: column.label }), make("dd", { textContent: shown(item.values[index], column) }));
    });
    if (item.status === "scored") list.append(make("dt", { textContent: "tracks, of the reference" }), make("dd", { textContent: `${item.tracks[1]}, ${item.tracks[0]}` }));
    return list;
  }
  function figureOf(item, players, fallback) {
    const name = make("div", {}, make("i", { className: `swatch m${item.method % 8}` }), methods[item.method]);
    const caption = make("figcaption", {}, name, scoresOf(item));
    if (item.error) caption.append(make("p", { className: "error", textContent: item.error }));
    if (!item.size) return make("figure", {}, emptyScreen(fallback, item.status === "failed" ? "failed" : "video not embedded"), caption);
    const player = new Player(item.size, `video-${item.index}`, `tracks-${item.index}`);
    players.push(player);
    return make("figure", {}, player.screen, caption);
  }
  function build(scene) {
    const clip = clips[scene.clip];
    const members = scene.items.filter((item) => wanted(item));
    const players = [];
    const fallback = clip.size || members.find((item) => item.size)?.size || [16, 9];
    const strip = make("div", { className: "strip" });
    strip.style.setProperty("--n", Math.max(4, members.length + 1));
    const caption = make("figcaption", {}, make("div", { textContent: "reference" }));
    if (clip.look) caption.append(make("dl", {}, make("dt", { textContent: clip.look })));
    const embedded = clip.size && members.some((item) => item.size);
    if (embedded) players.push(new Player(clip.size, `clip-${scene.clip}`, `clip-tracks-${scene.clip}`));
    strip.append(make("figure", {}, embedded ? players[0].screen : emptyScreen(fallback, "video not embedded"), caption));
    strip.append(...members.map((item) => figureOf(item, players, fallback)));
    const about = [clip.name, clip.group, `seed ${scene.seed}`].filter(Boolean).join(" · ");
    const head = make("header", {}, make("h3", { textContent: prompts[scene.prompt] }), make("p", { textContent: about }));
    const article = make("article", { className: "scene" }, head, strip);
    if (players.length) {
      groups.set(article, new Group(players));
      near.observe(article);
    }
    return article;
  }

  // ------------------------------------------------------------------ filter, sort, and a list that grows as it is read
  const controls = Object.fromEntries(["method", "clip", "group", "find", "embedded", "sort"].map((id) => [id, byId(id)]));
  let listed = [];
  const built = new Map();

  const wanted = (item) => controls.method.value === "" || item.method === Number(controls.method.value);
  function passes(scene) {
    const clip = clips[scene.clip];
    if (controls.clip.value !== "" && scene.clip !== Number(controls.clip.value)) return false;
    if (controls.group.value !== "" && clip.group !== controls.group.value) return false;
    if (controls.embedded.checked && !scene.items.some((item) => item.size)) return false;
    const text = `${clip.name} ${prompts[scene.prompt]}`.toLowerCase();
    return text.includes(controls.find.value.trim().toLowerCase()) && scene.items.some(wanted);
  }
  function mean(scene, column) {
    const known = scene.items.filter(wanted).map((item) => item.values[column]).filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  }
  function sorted(found) {
    if (!controls.sort.value) return found;
    const [column, direction] = controls.sort.value.split(" ").map(Number);
    const keyed = found.map((scene) => [mean(scene, column), scene]);
    keyed.sort(([a], [b]) => (a === null) - (b === null) || direction * (a - b));
    return keyed.map(([, scene]) => scene);
  }
  function refresh() {
    near.disconnect();
    groups.forEach((group) => group.hide());
    groups.clear();
    built.clear();
    listed = sorted(scenes.filter(passes));
    byId("scenes").replaceChildren();
    byId("count").textContent = `${listed.length} of ${scenes.length} scenes`;
    grow();
  }
  function grow(until = built.size + BATCH) {
    for (const scene of listed.slice(built.size, until)) {
      built.set(scene, build(scene));
      byId("scenes").append(built.get(scene));
    }
    // Asked again each time: an observer tells only of changes.
    more.unobserve(byId("more"));
    if (built.size < listed.length) more.observe(byId("more"));
  }
  const more = new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) grow(); }, { rootMargin: "800px" });

  function visit(item) {
    const scene = sceneOf.get(item.index);
    if (!passes(scene) || !wanted(item)) {
      for (const name of ["method", "clip", "group", "find"]) controls[name].value = "";
      if (!passes(scene)) controls.embedded.checked = false;
      refresh();
    }
    grow(listed.indexOf(scene) + BATCH);
    const article = built.get(scene);
    article.scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
    article.classList.remove("found");
    void article.offsetWidth; // so that the animation begins anew
    article.classList.add("found");
  }

  // ------------------------------------------------------------------ controls
  function fill(select, entries) {
    for (const [value, text] of entries) select.append(make("option", { value, textContent: text }));
  }
  fill(controls.method, methods.map((name, index) => [index, name]));
  fill(controls.clip, clips.map((clip, index) => [index, clip.name]));
  fill(controls.group, data.groups.map((name) => [name, name]));
  byId("group-label").hidden = !data.groups.length;
  // Of a large benchmark only some scenes have videos: those come first to be seen.
  const partly = items.some((item) => item.size) && scenes.some((scene) => !scene.items.some((item) => item.size));
  byId("embedded-label").hidden = !partly;
  controls.embedded.checked = partly;
  fill(controls.sort, columns.flatMap((column, index) => {
    if (items.every((item) => item.values[index] === null)) return [];
    const better = column.higher ? -1 : 1;
    return [[`${index} ${better}`, `${column.label}, best first`], [`${index} ${-better}`, `${column.label}, worst first`]];
  }));
  let typing;
  controls.find.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(refresh, 150);
  });
  for (const name of ["method", "clip", "group", "embedded", "sort"]) controls[name].addEventListener("change", refresh);
  byId("tracks").addEventListener("change", (event) => {
    if (event.target.checked) redraw();
    else for (const group of groups.values()) group.players.forEach((player) => player.clear());
  });
  byId("play").checked = !still;
  byId("play").addEventListener("change", (event) => {
    for (const group of groups.values()) if (group.alive) group.toggle(event.target.checked);
  });
  byId("baseline")?.addEventListener("change", (event) => {
    for (const table of document.querySelectorAll(".against")) table.hidden = table.dataset.baseline !== event.target.value;
  });

  // ------------------------------------------------------------------ the scatter's dots
  const tip = byId("tip");
  const plot = document.querySelector(".plot");
  plot?.addEventListener("pointerover", (event) => {
    const item = items[event.target.dataset?.item];
    tip.hidden = !item;
    if (!item) return;
    const values = columns.map((column, index) => item.values[index] === null ? "" : `${column.label} ${shown(item.values[index], column)}`);
    tip.textContent = [methods[item.method], `${clips[item.clip].name} · seed ${item.seed}`, prompts[item.prompt], ...values].filter(Boolean).join("\n");
  });
  plot?.addEventListener("pointermove", (event) => {
    tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
  });
  plot?.addEventListener("pointerleave", () => { tip.hidden = true; });
  plot?.addEventListener("click", (event) => {
    const item = items[event.target.dataset?.item];
    if (item) { tip.hidden = true; visit(item); }
  });

  refresh();
})();
