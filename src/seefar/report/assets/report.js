// The gallery: one state, kept in the address, which determines everything shown.
// live.js, which `seefar app` appends to these scripts, needs only this from them: the card shows a mistake as `viewOf` sees
// it, `views` has the views that replace those of the file, `showCard` shows the card again, and then the dialog
// dispatches "card-shown" with the mistake as detail. Whatever is in `byIndex` can be shown by `go({ card: index })`.

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("values").textContent);
const { classes, mistakes, maps, neighbours, beside } = page;
const probabilities = page.probabilities && unpack(page.probabilities, Float32Array); // null: only classes are known
const votes = page.votes && unpack(page.votes, Uint16Array);
const near = neighbours && {
  indices: unpack(neighbours.indices, Int32Array),
  rows: unpack(neighbours.rows, Int32Array),
  distances: unpack(neighbours.distances, Float32Array),
};
const OUTCOMES = { repaired: "repaired", other: "changed", stays: "unchanged" };
const ORDERS = {
  loss: ["highest loss first", (a, b) => b.loss - a.loss],
  confidence: ["most confident first", (a, b) => b.confidence - a.confidence],
  people: ["most human disagreement first", (a, b) => (b.disagreement ?? -1) - (a.disagreement ?? -1)],
  index: ["test set order", (a, b) => a.index - b.index],
  like: ["most similar first", (a, b) => distance(a, byIndex.get(state.like)) - distance(b, byIndex.get(state.like))],
};
if (!probabilities) ["loss", "confidence"].forEach((name) => delete ORDERS[name]);
const NAMES = { search: "Search", true: "Label", predicted: "Prediction", fault: "Cause", outcome: "Evidence hidden", set: "Subset" };
const FILTERS = Object.keys(NAMES);
const NONE = {
  search: "", true: "", predicted: "", fault: "", outcome: "", set: "", like: "", order: probabilities ? "loss" : "index", show: "120", card: "",
};
const TOP = 56; // height of the bar with the sections
const NEAR = 300; // pixels around the screen, in which tiles are painted before they are scrolled to
const LEAST_TILES = 24; // drawn at once while the page loads
const TILES_AHEAD = 1000; // made before they are shown
const form = byId("filters"), list = byId("tiles"), dialog = byId("card");
const byIndex = new Map(mistakes.map((mistake) => [String(mistake.index), mistake]));
let state = { ...NONE }, shown = mistakes, current = null, printing = false;
let pictures = null, trainingPictures = null;
const views = new Map();

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 || share > 0.995 ? 1 : 0)}%`;
const whole = (share) => `${Math.round(100 * share)}%`;
const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
const element = (tag, text = "", more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
/** A name of any script within a sentence: its direction does not turn the words around it. */
const bdi = (name) => element("bdi", name);
const isolated = (name) => `\u2068${name}\u2069`;
const besideRows = new Map(beside?.index.map((index, row) => [index, row]));
// Mistakes of this run come first. `broken` are those that only the other run makes: they are no mistakes here, and
// are shown only if their subset is chosen.
mistakes.forEach((mistake, number) => Object.assign(mistake, { number, broken: mistake.true === mistake.predicted }));
const own = mistakes.filter(({ broken }) => !broken).length;
/** The wrong class of a mistake, which this run predicts, or of a broken one the other. */
const wrongClass = (mistake) => (mistake.broken ? beside.predicted[mistake.number] : mistake.predicted);
/** Row and array of the maps for the wrong class; the row is undefined of what is not explained. */
const explained = (mistake) => (mistake.broken ? [besideRows.get(mistake.index), beside.maps] : [mistake.map, maps]);

// Maps

/**
 * A mistake as the card shows it: image number `at` of the sprite sheet `sheet`; the class `predicted`, and `other`, with
 * which its map is contrasted; `probabilities` of all classes; `mask`, whether each pixel is hidden; `maps`. The last two
 * are null of a mistake that is not explained.
 */
function viewOf(mistake) {
  const [row, of] = explained(mistake), isExplained = row !== undefined;
  return views.get(mistake) ?? {
    sheet: pictures,
    at: mistake.number,
    predicted: wrongClass(mistake),
    other: mistake.true,
    probabilities: probabilities ? probabilities.subarray(mistake.number * classes.length, (mistake.number + 1) * classes.length) : [],
    mask: isExplained ? maskOf(unpacked(of).hidden, row, pictures.width * pictures.height) : null,
    maps: isExplained ? mapsOf(row, of) : null,
  };
}

const unpacked = (of) => (of.unpacked ??= {
  values: unpack(of.values, of.bits === 8 ? Int8Array : Int16Array), scales: unpack(of.scales, Float32Array), hidden: unpack(of.hidden, Uint8Array),
});

/** One row of the maps of this run or another. */
function mapsOf(row, of) {
  const { values, scales } = unpacked(of), count = of.cells[0] * of.cells[1], start = 2 * row * count;
  const cut = (from) => Float32Array.from(values.subarray(from, from + count), (value) => value * scales[row]);
  return contrasted(cut(start), cut(start + count), of);
}

/** Two maps, their contrast, the end of the scale that all three share, and the `grid` of their cells. */
function contrasted(predicted, other, grid) {
  const contrast = predicted.map((value, at) => value - other[at]);
  const scale = Math.max(1e-12, ...[contrast, predicted, other].map((one) => one.reduce((a, v) => Math.max(a, Math.abs(v)), 0)));
  return { contrast, predicted, true: other, scale, grid };
}

/** The pixels of one of the maps of a view over its image. */
function mapOver({ sheet, at, maps: { scale, grid } }, values) {
  return mapPixels(sheet, at, toPixels(values, grid.cells, grid.spacing, grid.origin, sheet.height, sheet.width), scale);
}

// Tiles

/** What is not on the screen can wait until the next frame is drawn. */
const afterFrame = (work) => requestAnimationFrame(() => setTimeout(work));

/** Only tiles near the screen hold pixels, and those on it are painted first; the others free their memory. */
const observer = new IntersectionObserver((entries) => {
  const update = ({ target }) => {
    if (target.near) paintTile(target);
    else if (!printing) releaseTile(target);
  };
  entries.forEach(({ target, isIntersecting }) => { target.near = isIntersecting; });
  entries.filter(({ boundingClientRect, rootBounds }) => boundingClientRect.top < rootBounds?.bottom - NEAR).forEach(update);
  afterFrame(() => entries.forEach(update));
}, { rootMargin: `${NEAR}px` });

function makeTile(mistake) {
  const item = byId("tile").content.firstElementChild.cloneNode(true), button = item.firstElementChild;
  const [pair, names, facts] = button.children, [labelPart, , answerPart] = names.children, [surePart, faultPart] = facts.children;
  const label = classes[mistake.true], answer = classes[wrongClass(mistake)], owner = mistake.broken ? `by ${beside.name}` : "";
  labelPart.textContent = label;
  answerPart.textContent = answer;
  names.title = `${isolated(label)} → ${isolated(answer)}`;
  const sure = probabilities && !mistake.broken && `${percent(mistake.confidence)} confident`;
  if (sure) surePart.textContent = sure;
  faultPart.textContent = mistake.fault ?? OUTCOMES[mistake.outcome] ?? owner;
  faultPart.classList.add(mistake.fault ? `fault-${mistake.fault}` : "no-fault");
  item.classList.toggle("noted", notes.has(String(mistake.index)));
  const cause = mistake.fault && page.faults[mistake.fault][0];
  button.setAttribute("aria-label", `${isolated(label)} → ${isolated(answer)}, ` +
    [sure, owner, cause, OUTCOMES[mistake.outcome], `test image ${mistake.index}`].filter(Boolean).join(", "));
  pair.classList.toggle("alone", explained(mistake)[0] === undefined);
  item.mistake = mistake;
  mistake.tile = item;
  observer.observe(item);
  return item;
}

/** Make the tiles of more mistakes while the browser has nothing else to do: a filter then only puts them into the page. */
function makeTilesAhead() {
  const next = mistakes.slice(0, TILES_AHEAD).values();
  const work = (idle) => {
    while (idle.timeRemaining() > 2) {
      const { value: mistake, done } = next.next();
      if (done) return;
      if (!mistake.tile) makeTile(mistake);
    }
    requestIdleCallback(work);
  };
  globalThis.requestIdleCallback?.(work);
}

/** The image, and next to it its contrast map, each in the middle of a square. */
function paintTile(item) {
  if (!pictures || item.painted) return;
  const { number } = item.mistake, { width, height } = pictures, [row, of] = explained(item.mistake);
  const side = Math.max(width, height), gap = Math.ceil(side / 32), left = (side - width) >> 1, top = (side - height) >> 1;
  const canvas = item.firstElementChild.firstElementChild, context = canvas.getContext("2d");
  Object.assign(canvas, { width: row === undefined ? side : 2 * side + gap, height: side });
  pictures.draw(context, number, [left, top, width, height]);
  if (row !== undefined) {
    const view = { sheet: pictures, at: number, maps: mapsOf(row, of) };
    context.putImageData(mapOver(view, view.maps.contrast), side + gap + left, top);
  }
  item.painted = true;
}

/** What only a print of few mistakes shows. */
function addWords({ mistake, firstElementChild: button }) {
  if (button.querySelector(".words")) return;
  const words = element("span", mistake.sentence ?? "", { className: "words" });
  button.append(words, element("span", mistake.file ?? `Test image ${mistake.index}`, { className: "number" }));
}

function releaseTile(item) {
  if (!item.painted) return;
  Object.assign(item.firstElementChild.firstElementChild, { width: 0, height: 0 });
  item.painted = false;
}

const tilesInPage = () => shown.filter(({ tile }) => tile?.isConnected).map(({ tile }) => tile);
addEventListener("beforeprint", () => {
  printing = true;
  tilesInPage().forEach(paintTile);
  tilesInPage().forEach(addWords);
});
addEventListener("afterprint", () => {
  printing = false;
  tilesInPage().forEach((tile) => tile.near || releaseTile(tile));
});

// Filters

/** What a mistake has of each menu. */
const VALUES = {
  true: (mistake) => [classes[mistake.true]],
  predicted: (mistake) => [classes[wrongClass(mistake)]],
  fault: (mistake) => [mistake.fault],
  outcome: (mistake) => [mistake.outcome],
  set: (mistake) => [...(mistake.broken ? [`broken by ${beside.name}`] : mistake.sets ?? []), ...noteSets(mistake)],
};

function fits(mistake, key) {
  if (key !== "search") return VALUES[key](mistake).includes(state[key]);
  return String(mistake.index).startsWith(state.search) || Boolean(mistake.file?.toLowerCase().includes(state.search.toLowerCase()));
}

/** How many of these mistakes have each value of a menu. */
function countValues(some, key) {
  const found = new Map();
  for (const mistake of some) for (const value of VALUES[key](mistake)) found.set(value, (found.get(value) ?? 0) + 1);
  return found;
}

/** The mistakes that fit all filters but one; broken ones only if their subset is, or could be, chosen. */
function matching(except = "") {
  const used = FILTERS.filter((key) => key !== except && state[key]);
  const some = except === "set" || state.set ? mistakes : mistakes.slice(0, own);
  return some.filter((mistake) => (!lasso || lasso.has(mistake)) && used.every((key) => fits(mistake, key)));
}

/** The options of each menu: groups of values, each with its text. */
const MENUS = {
  true: () => [["", classes.map((name) => [name, name])]],
  predicted: () => [["", classes.map((name) => [name, name])]],
  fault: () => [["", Object.entries(page.faults).map(([fault, [name]]) => [fault, name])]],
  outcome: () => [["", Object.entries(OUTCOMES)]],
  set: () => {
    const groups = new Map();
    Object.entries(page.sets).forEach(([name, [group]]) => groups.set(group, [...(groups.get(group) ?? []), [name, name]]));
    return [...groups, ["Mine", [...new Set(mistakes.flatMap(noteSets))].sort().map((name) => [name, name])]];
  },
};

function fillMenu(key) {
  const select = form.elements[key], present = countValues(mistakes, key);
  select.replaceChildren(new Option("any", ""));
  for (const [group, options] of MENUS[key]()) {
    if (!options.length) continue;
    const into = group ? select.appendChild(element("optgroup", "", { label: group })) : select;
    for (const [value, text] of options) {
      if (present.has(value)) into.append(Object.assign(new Option(text, value), { words: text }));
    }
  }
  select.value = state[key];
  select.closest("label").hidden = select.options.length < 3;
}

/** How many mistakes each choice would show under the other filters; an option without mistakes is disabled. */
function countOptions() {
  for (const key of Object.keys(MENUS)) {
    const under = countValues(state[key] || key === "set" ? matching(key) : shown, key);
    for (const option of [...form.elements[key].options].slice(1)) {
      const count = under.get(option.value) ?? 0;
      option.text = `${option.words} (${count})`;
      option.disabled = !count && state[key] !== option.value;
    }
  }
}

const chipText = (key) => (key === "fault" ? page.faults[state.fault][0] : OUTCOMES[state[key]] ?? state[key]);

function showChips() {
  const chip = (remove, ...parts) => {
    const item = element("li"), button = item.appendChild(element("button", "", { type: "button" }));
    button.append(...parts, element("span", " ✕"));
    button.addEventListener("click", remove);
    return item;
  };
  const chips = FILTERS.filter((key) => state[key]).map((key) => {
    const item = chip(() => go({ [key]: "" }), `${NAMES[key]}: `, bdi(chipText(key)));
    item.firstElementChild.setAttribute("aria-label", `Remove the filter ${NAMES[key]}: ${chipText(key)}`);
    return item;
  });
  if (lasso) chips.push(chip(() => setLasso(null), `On the map: ${lasso.size}`));
  if (state.like) chips.push(chip(() => go({ like: "", order: NONE.order }), `Similar to ${state.like}`));
  byId("chips").replaceChildren(...chips);
  byId("chips").hidden = !chips.length;
}

// State and address

function readAddress(hash) {
  const found = new URLSearchParams(hash.slice(1)), next = { ...NONE };
  for (const key of Object.keys(NONE)) if (found.has(key)) next[key] = found.get(key);
  for (const key of ["true", "predicted"]) if (!classes.includes(next[key])) next[key] = "";
  if (!Object.hasOwn(page.faults, next.fault)) next.fault = "";
  if (!Object.hasOwn(OUTCOMES, next.outcome)) next.outcome = "";
  if (!countValues(mistakes, "set").has(next.set)) next.set = "";
  if (!byIndex.has(next.like) || !similar) next.like = "";
  if (!Object.hasOwn(ORDERS, next.order) || (next.order === "like") !== Boolean(next.like)) [next.order, next.like] = [NONE.order, ""];
  if (!/^\d+$|^all$/.test(next.show)) next.show = NONE.show;
  if (!byIndex.has(next.card)) next.card = "";
  return next;
}

/** The address of a state; `at` is the section on the screen. */
function addressOf(some, at = "") {
  const used = Object.entries({ ...some, at }).filter(([key, value]) => value && value !== NONE[key]);
  return used.length ? `#${new URLSearchParams(used)}` : "#mistakes";
}

function remember(hash, how) {
  try {
    history[how === "push" ? "pushState" : "replaceState"]({ card: Boolean(state.card) }, "", hash);
  } catch { /* a page within a notebook has no address of its own */ }
}

/** Show another state; `how`: push a step back, replace it, or leave the address as it is (null). */
function go(change, how = "push") {
  const before = state;
  state = { ...state, ...change };
  if (how) remember(addressOf(state), how);
  if (Object.keys(NONE).some((key) => key !== "card" && before[key] !== state[key])) showTiles();
  showCard();
}

const columnCount = () => getComputedStyle(list).gridTemplateColumns.split(" ").length;

/** How many tiles there is room for from the top of the gallery to the end of the screen. */
function tilesOnScreen() {
  const first = list.firstElementChild;
  if (!first) return LEAST_TILES;
  const top = Math.max(TOP, list.getBoundingClientRect().top);
  return Math.max(0, columnCount() * Math.ceil((innerHeight - top) / first.offsetHeight));
}

function showTiles() {
  const onScreen = tilesOnScreen();
  shown = matching().sort(ORDERS[state.order][1]);
  showUpTo(state.show === "all" ? shown.length : Number(state.show));
  drawLater([...list.children].slice(onScreen));
  current = shown[0] ?? null;
  tilesInPage().forEach((tile) => { tile.firstElementChild.tabIndex = -1; });
  if (current) current.tile.firstElementChild.tabIndex = 0;
  afterFrame(countOptions);
  showChips();
  const last = form.elements.order.options[form.elements.order.options.length - 1];
  last.hidden = last.disabled = !state.like;
  last.text = `like ${state.like}`;
  for (const key of [...Object.keys(MENUS), "order"]) form.elements[key].value = state[key];
  byId("show").value = state.show;
  if (form.elements.search.value !== state.search) form.elements.search.value = state.search;
  const filtered = FILTERS.some((key) => state[key]) || Boolean(lasso), isOurs = !shown[0]?.broken;
  byId("count").textContent = filtered && isOurs ? `${shown.length} of ${own}` : `${shown.length}`;
  byId("reset").disabled = !filtered && !state.like;
  const elsewhere = /^\d+$/.test(state.search) && Number(state.search) < page.images && !byIndex.has(state.search);
  byId("none").textContent = elsewhere ? `Test image ${state.search} is not among the mistakes on this page.` : "No mistake matches these filters.";
  byId("none").hidden = shown.length > 0;
  if (!shown.length) byId("none").scrollIntoView({ block: "nearest", behavior: "instant" });
  byId("download").disabled = byId("print").disabled = !shown.length;
  const used = FILTERS.filter((key) => state[key]).map((key) => `${NAMES[key]}: ${chipText(key)}`);
  byId("printed").textContent = [page.run, `${tilesInPage().length} of ${counted(shown.length, "mistake")}`, ...used, ORDERS[state.order][0]].join(" · ");
  document.documentElement.classList.toggle("selection", filtered || (tilesInPage().length < own && state.show !== NONE.show));
  keepInView();
  drawLandscape();
}

/** Draw these tiles, which are below the screen, after the next frame: they would make a filter slower. */
function drawLater(tiles) {
  tiles.forEach((tile) => tile.classList.add("later"));
  afterFrame(() => tiles.forEach((tile) => tile.classList.remove("later")));
}

/** Put the first `count` of the mistakes that fit into the page. */
function showUpTo(count) {
  const inPage = shown.slice(0, count), rest = shown.length - inPage.length;
  list.replaceChildren(...inPage.map((mistake) => mistake.tile ?? makeTile(mistake)));
  list.classList.toggle("few", inPage.length <= 12);
  byId("more").hidden = !rest;
  byId("show-more").textContent = `Show ${Math.min(rest, Number(NONE.show))} more`;
  byId("show-all").textContent = `Show all ${shown.length}`;
}

/** How much of the top of the screen the bars cover: tiles that are scrolled to or focused must stay below. */
function measureBars() {
  const covered = getComputedStyle(form).position === "sticky" ? Math.ceil(form.getBoundingClientRect().height) : 0;
  list.style.setProperty("--filters", `${covered}px`);
  return TOP + covered;
}

/** If the gallery was scrolled past, a new selection begins at its top. */
function keepInView() {
  if (list.getBoundingClientRect().top < measureBars() - 1) list.scrollIntoView({ block: "start", behavior: "instant" });
}

function focusTile(mistake) {
  const place = shown.indexOf(mistake);
  if (place < 0) return;
  if (!mistake.tile?.isConnected) showUpTo(place + 1);
  if (current) current.tile.firstElementChild.tabIndex = -1;
  current = mistake;
  const button = mistake.tile.firstElementChild;
  button.tabIndex = 0;
  button.focus({ preventScroll: true });
  mistake.tile.scrollIntoView({ block: "nearest", behavior: "instant" });
}

// CSV

/** A cell of a CSV file; text that a spreadsheet would run as a formula is marked as text. */
function cell(value) {
  const text = Array.isArray(value) ? value.join("; ") : String(value ?? "");
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Columns as in mistakes.csv, each with the name of its value here. */
const COLUMNS = {
  index: "index", file: "file", true: "true", predicted: "predicted", confidence: "confidence", true_probability: "true_probability",
  loss: "loss", fault: "fault", fault_reason: "why", people_entropy: "disagreement", outcome: "outcome", hidden_share: "hidden_share",
  answer_hidden: "answer", predicted_probability_hidden: "predicted_after", true_probability_hidden: "true_after",
  control_share: "control_share", health: "health", health_reasons: "reasons", sentence: "sentence",
};

function csv() {
  const used = Object.entries(COLUMNS).filter(([, key]) => mistakes.some((mistake) => mistake[key] !== undefined));
  const value = (mistake, key) => (["true", "predicted", "answer"].includes(key) ? classes[mistake[key]] : mistake[key]);
  const rows = [used.map(([name]) => name), ...shown.map((mistake) => used.map(([, key]) => value(mistake, key)))];
  return rows.map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function save(name, parts, type) {
  const link = element("a", "", { href: URL.createObjectURL(new Blob(parts, { type })), download: `${page.run}-${name}` });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// User actions

const typing = (event) => event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input:not([type=checkbox]), select, textarea");

form.addEventListener("change", ({ target }) => target.name !== "search" && go({ [target.name]: target.value, ...(target.name === "order" && { like: "" }) }));
form.elements.search.addEventListener("input", ({ target }) => go({ search: target.value.trim() }, "replace"));
form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (shown.length) go({ card: String(shown[0].index) });
});
form.addEventListener("reset", (event) => {
  event.preventDefault();
  [lasso, drawnLasso] = [null, null];
  go({ ...NONE, order: state.like ? NONE.order : state.order, show: state.show });
  showTiles();
});
byId("show").addEventListener("change", ({ target }) => go({ show: target.value }));
byId("show-more").addEventListener("click", () => {
  const place = list.children.length;
  showUpTo(place + Number(NONE.show));
  focusTile(shown[place]);
});
byId("show-all").addEventListener("click", () => go({ show: "all" }));
byId("download").addEventListener("click", () => save("mistakes.csv", ["\ufeff", csv()], "text/csv"));
byId("print").addEventListener("click", () => window.print());
list.addEventListener("click", (event) => {
  const item = event.target.closest("li");
  if (item) go({ card: String(item.mistake.index) });
});
list.addEventListener("keydown", (event) => {
  const columns = columnCount();
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -Infinity, End: Infinity };
  if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const place = shown.indexOf(event.target.closest("li").mistake) + moves[event.key];
  focusTile(shown[Math.abs(moves[event.key]) === Infinity ? Math.min(Math.max(place, 0), list.children.length - 1) : place]);
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || typing(event) || dialog.open) return;
  event.preventDefault();
  form.elements.search.focus();
});
// Links within the page are followed by script, because in a notebook they would lead to the notebook, and to keep the filters.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const hash = link.getAttribute("href");
  if (hash.startsWith("#card=")) {
    go({ card: hash.slice(6) });
    return;
  }
  const filtered = hash.includes("="), target = byId(filtered ? "mistakes" : hash.slice(1));
  if (filtered) go({ ...readAddress(hash), order: state.order, like: state.like, show: state.show });
  else remember(addressOf(state, hash.slice(1)), "replace");
  target.scrollIntoView();
  target.focus({ preventScroll: true });
});
addEventListener("popstate", () => go(readAddress(location.hash), null));
addEventListener("resize", measureBars);

const links = new Map([...document.querySelectorAll(".top nav a")].map((link) => [link.hash.slice(1), link]));
const reading = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => {
  const link = links.get(target.id);
  link.toggleAttribute("aria-current", isIntersecting);
  if (isIntersecting) link.closest("nav").scrollTo({ left: link.offsetLeft - link.closest("nav").offsetLeft });
}), { rootMargin: "-40% 0px -59% 0px" });
links.forEach((_, id) => reading.observe(byId(id)));
