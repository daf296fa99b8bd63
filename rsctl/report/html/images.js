// The image browser: images of one run as cards, and one image with the counts of every run.
(() => {
  "use strict";
  const place = document.getElementById("browser");
  if (!place) return;
  const sets = JSON.parse(document.getElementById("report-data").textContent).images;
  const PAGE = 48, SVG = "http://www.w3.org/2000/svg";

  const make = (tag, attributes = {}, ...children) => {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const select = (label, options) => {
    const chosen = make("select");
    options.forEach(([value, text]) => chosen.add(new Option(text, value)));
    return [chosen, make("label", {}, label, chosen)];
  };
  const four = (value) => (value === null ? "none found" : value.toFixed(4));
  const named = (set, c) => (set.classes[c] === undefined ? String(c) : `${c} ${set.classes[c]}`);
  const title = (run) => `${run.label}, σ = ${run.sigma}${run.seed === null ? "" : `, seed ${run.seed}`}, ${run.certificate}`;

  function verdict(set, run, k) {
    const predicted = run.predicted[k], label = set.label[run.at[k]];
    if (run.kind === "attacks") return run.radius[k] === null ? ["right", "✓ withstands"] : run.radius[k] === 0 ? ["wrong", "✗ misclassified"] : ["wrong", "✗ broken"];
    if (predicted < 0) return ["abstains", "– abstains"];
    if (run.kind === "verifications" && predicted === label && run.radius[k] === 0) return ["right", "✓ right, not proved"];
    return predicted === label ? ["right", "✓ right"] : ["wrong", `✗ wrong: ${named(set, predicted)}`];
  }
  const state = ([name, text]) => make("span", { class: `state ${name}` }, text);

  const picture = (set, at, alt) => (set.pictures[at] ? [make("img", { src: set.pictures[at], alt })] : []);

  function bars(set, run, k) {
    const counts = run.counts[k], n = run.n[k], found = make("div");
    if (!counts || !counts.length) return found;
    let rest = n;
    const rows = [];
    for (let i = 0; i < counts.length; i += 2) {
      rows.push([named(set, counts[i]), counts[i + 1], counts[i] === set.label[run.at[k]]]);
      rest -= counts[i + 1];
    }
    if (rest > 0) rows.push(["others", rest, false]);
    for (const [name, count, own] of rows) {
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", "0 0 100 6");
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("aria-hidden", "true");
      for (const [width, kind] of [[100, "ground"], [(100 * count) / n, own ? "of-label" : "count"]]) {
        const bar = document.createElementNS(SVG, "rect");
        bar.setAttribute("width", width);
        bar.setAttribute("height", "6");
        bar.setAttribute("class", kind);
        svg.append(bar);
      }
      found.append(make("div", { class: "bar" }, make("span", {}, own ? `${name} (label)` : name), svg, make("span", {}, count.toLocaleString("en"))));
    }
    return found;
  }

  function summary(set, run, k) {
    const counts = run.counts[k] || [], told = [];
    for (let i = 0; i < Math.min(counts.length, 6); i += 2) told.push(`${named(set, counts[i])}: ${counts[i + 1].toLocaleString("en")}`);
    return told.join(" · ");
  }
  const radiusText = (run, k) => (run.predicted[k] < 0 && run.kind !== "attacks" ? "–" : four(run.radius[k]));
  const contradicted = (run, k) => (run.broken.includes(k) ? [make("div", { class: "state wrong" }, "✗ contradicted by an attack")] : []);

  function everyRun(set, at) {
    const body = make("tbody"), guarantees = new Set();
    for (const run of set.runs) {
      const k = run.at.indexOf(at);
      if (k < 0) continue;
      guarantees.add(`${run.certificate}: ${run.guarantee}`);
      body.append(make("tr", {},
        make("th", { scope: "row" }, title(run)),
        make("td", {}, make("span", {}, state(verdict(set, run, k))), ...contradicted(run, k)),
        make("td", { class: "number" }, make("span", {}, radiusText(run, k))),
        make("td", {}, summary(set, run, k))));
    }
    const heads = ["Run", "Outcome", "Radius", "Most frequent classes"].map((text) => make("th", { scope: "col", class: text === "Radius" ? "number" : undefined }, text));
    const table = make("table", {}, make("thead", {}, make("tr", {}, ...heads)), body);
    if (body.rows.length > 1) window.sortable(table);
    return [make("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Every run on this image" }, table),
      ...[...guarantees].map((text) => make("p", { class: "note" }, `${text}.`)),
      make("p", { class: "note" }, "Radii are rounded down; for an attack, the distance of the nearest adversarial image that it found, rounded up.")];
  }

  function detail(set, run, k, card) {
    const at = run.at[k], label = named(set, set.label[at]), name = `Image ${set.index[at]}`;
    const close = make("button", { type: "button" }, "Close");
    const panel = make("div", { class: "detail", tabindex: "-1", role: "region", "aria-label": name },
      make("div", { class: "top" }, ...picture(set, at, `image ${set.index[at]}, ${label}`),
        make("div", { class: "facts" }, make("h3", {}, name), make("p", {}, `Label ${label}`),
          make("p", {}, state(verdict(set, run, k)), `, radius ${radiusText(run, k)}`), ...contradicted(run, k),
          make("p", { class: "note" }, `${title(run)}: ${run.guarantee}`)),
        bars(set, run, k), close),
      ...everyRun(set, at));
    const leave = () => { panel.remove(); card.setAttribute("aria-expanded", "false"); card.focus(); };
    close.addEventListener("click", leave);
    panel.addEventListener("keydown", (event) => { if (event.key === "Escape") leave(); });
    return panel;
  }

  const [setChoice, setLabel] = select("Data", sets.map((set, i) => [i, set.name]));
  const [runChoice, runLabel] = select("Run", []);
  const [kindChoice, kindLabel] = select("Show", [["all", "all"], ["right", "right"], ["wrong", "wrong"], ["abstains", "abstains"], ["broken", "contradicted"]]);
  const [sortChoice, sortLabel] = select("Sort by", [["image", "image"], ["least", "radius, smallest first"], ["most", "radius, largest first"]]);
  const about = make("p", { class: "note", "aria-live": "polite" }), cards = make("ul", { class: "cards" });
  const opened = make("div"), more = make("button", { type: "button", class: "more" }, "Show more");
  let shown = PAGE;

  function chosen() {
    const set = sets[setChoice.value], run = set.runs[runChoice.value];
    let rows = run.at.map((_, k) => k);
    if (kindChoice.value === "broken") rows = rows.filter((k) => run.broken.includes(k));
    else if (kindChoice.value !== "all") rows = rows.filter((k) => verdict(set, run, k)[0] === kindChoice.value);
    const radius = (k) => (run.radius[k] === null ? Infinity : run.radius[k]);
    if (sortChoice.value === "least") rows.sort((a, b) => radius(a) - radius(b) || a - b);
    if (sortChoice.value === "most") rows.sort((a, b) => radius(b) - radius(a) || a - b);
    return [set, run, rows];
  }

  function show() {
    const [set, run, rows] = chosen();
    about.textContent = `${rows.length.toLocaleString("en")} of ${run.at.length.toLocaleString("en")} images. ${run.certificate}: ${run.guarantee}.`;
    cards.replaceChildren(...rows.slice(0, shown).map((k) => {
      const at = run.at[k], label = named(set, set.label[at]);
      const card = make("button", { type: "button", class: "card", "aria-expanded": "false" }, ...picture(set, at, ""),
        make("b", {}, `#${set.index[at]} `), make("span", {}, label), make("br"), state(verdict(set, run, k)));
      if (run.broken.includes(k)) card.append(make("br"), make("span", { class: "state wrong" }, "✗ contradicted"));
      if (run.predicted[k] >= 0 || run.kind === "attacks") card.append(make("br"), make("span", {}, `r = ${four(run.radius[k])}`));
      card.addEventListener("click", () => {
        cards.querySelectorAll("[aria-expanded=true]").forEach((other) => other.setAttribute("aria-expanded", "false"));
        card.setAttribute("aria-expanded", "true");
        const panel = detail(set, run, k, card);
        opened.replaceChildren(panel);
        panel.focus();
      });
      return make("li", {}, card);
    }));
    more.hidden = rows.length <= shown;
  }

  function fresh() {
    shown = PAGE;
    opened.replaceChildren();
    show();
  }
  function fillRuns() {
    runChoice.replaceChildren(...sets[setChoice.value].runs.map((run, i) => new Option(title(run), i)));
    fresh();
  }
  setChoice.addEventListener("change", fillRuns);
  for (const one of [runChoice, kindChoice, sortChoice]) one.addEventListener("change", fresh);
  more.addEventListener("click", () => { shown += 4 * PAGE; show(); });
  place.replaceChildren(make("div", { class: "controls" }, ...(sets.length > 1 ? [setLabel] : []), runLabel, kindLabel, sortLabel), about, opened, cards, more);
  fillRuns();
})();
