// The gallery and the card: one state, kept in the address, from which everything is shown.
// live.js, which `seefar app` appends to this script, needs only this of it: the card shows a mistake as `viewOf` sees
// it, `views` has the views that replace those of the file, `showCard` shows the card again, and then the dialog
// dispatches "card-shown" with the mistake as detail.

const byId = (id) => document.getElementById(id);
const page = JSON.parse(byId("values").textContent);
const { classes, mistakes, maps, neighbours } = page;
const probabilities = unpack(page.probabilities, Float32Array);
const votes = page.votes && unpack(page.votes, Uint16Array);
const mapValues = maps && unpack(maps.values, maps.bits === 8 ? Int8Array : Int16Array);
const mapScales = maps && unpack(maps.scales, Float32Array);
const hiddenBits = maps && unpack(maps.hidden, Uint8Array);
const near = neighbours && {
  indices: unpack(neighbours.indices, Int32Array),
  rows: unpack(neighbours.rows, Int32Array),
  distances: unpack(neighbours.distances, Float32Array),
};
const OUTCOMES = { repaired: "repaired", other: "changed", stays: "unchanged" };
const ORDERS = {
  loss: ["highest loss first", (a, b) => b.loss - a.loss],
  confidence: ["most confident first", (a, b) => b.confidence - a.confidence],
  people: ["most disagreement of people first", (a, b) => (b.disagreement ?? -1) - (a.disagreement ?? -1)],
  index: ["test set order", (a, b) => a.index - b.index],
};
const DOTS = { good: "●●●", fair: "●●○", poor: "●○○" };
const FILTERS = ["true", "predicted", "fault", "outcome"];
const NONE = { true: "", predicted: "", fault: "", outcome: "", order: "loss", card: "" };
const form = byId("filters"), list = byId("tiles"), dialog = byId("card");
const byIndex = new Map(mistakes.map((mistake) => [String(mistake.index), mistake]));
let state = { ...NONE }, shown = mistakes, opacity = 0.7, cells = true, hiding = false, current = null;
let pictures = null, trainingPictures = null;
const views = new Map();

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 || share > 0.995 ? 1 : 0)}%`;
mistakes.forEach((mistake, number) => { mistake.number = number; });

// Maps

/**
 * A mistake as the card shows it: image number `at` of the sprite sheet `sheet`; the class `predicted`, and `other`, with
 * which its map is contrasted; `probabilities` of all classes; `mask`, whether each pixel is hidden; `maps`. The last two
 * are null of a mistake that is not explained.
 */
function viewOf(mistake) {
  return views.get(mistake) ?? {
    sheet: pictures,
    at: mistake.number,
    predicted: mistake.predicted,
    other: mistake.true,
    probabilities: probabilities.subarray(mistake.number * classes.length, (mistake.number + 1) * classes.length),
    mask: mistake.map === undefined ? null : maskOf(hiddenBits, mistake.map, pictures.width * pictures.height),
    maps: mistake.map === undefined ? null : mapsOf(mistake),
  };
}

function mapsOf(mistake) {
  const count = maps.cells[0] * maps.cells[1], start = 2 * mistake.map * count, unit = mapScales[mistake.map];
  const cut = (from) => Float32Array.from(mapValues.subarray(from, from + count), (value) => value * unit);
  return contrasted(cut(start), cut(start + count), maps);
}

/** Two maps, their contrast, the end of the scale that all three share, and the `grid` of their cells. */
function contrasted(predicted, other, grid) {
  const contrast = predicted.map((value, at) => value - other[at]);
  const scale = Math.max(1e-12, ...[contrast, predicted, other].map((one) => one.reduce((a, v) => Math.max(a, Math.abs(v)), 0)));
  return { contrast, predicted, true: other, scale, grid };
}

function paintMap(canvas, { sheet, at, maps: { scale, grid } }, values) {
  const pixels = toPixels(values, grid.cells, grid.spacing, grid.origin, sheet.height, sheet.width, !cells);
  drawMap(canvas.getContext("2d"), sheet, at, pixels, scale, opacity, !cells);
}

/** Where on the map the strongest evidence is, in words for readers who do not see it. */
function strongest(values, [h, w]) {
  const at = values.indexOf(values.reduce((a, b) => Math.max(a, b)));
  const third = (place, count, names) => names[Math.min(2, Math.floor((3 * place) / count))];
  const row = third(Math.floor(at / w), h, ["top", "middle", "bottom"]);
  return `${row} ${third(at % w, w, ["left", "centre", "right"])}`;
}

// Tiles

const observer = new IntersectionObserver((entries) => entries.forEach((entry) => {
  entry.target.near = entry.isIntersecting;
  if (entry.isIntersecting) paintTile(entry.target);
}), { rootMargin: "300px" });

function makeTile(mistake) {
  const item = byId("tile").content.firstElementChild.cloneNode(true), part = (name) => item.querySelector(`.${name}`);
  const label = classes[mistake.true], answer = classes[mistake.predicted];
  part("label").textContent = label;
  part("answer").textContent = answer;
  part("sure").textContent = `${percent(mistake.confidence)} confident`;
  part("fault").textContent = mistake.fault ?? OUTCOMES[mistake.outcome] ?? "";
  part("tile").setAttribute("aria-label", `Test image ${mistake.index}: ${label} predicted as ${answer}, ` +
    [`${percent(mistake.confidence)} confident`, mistake.fault && `cause ${mistake.fault}`, OUTCOMES[mistake.outcome]].filter(Boolean).join(", "));
  if (mistake.map === undefined) part("map").remove();
  item.mistake = mistake;
  mistake.tile = item;
  observer.observe(item);
  return item;
}

function paintTile(item) {
  if (!pictures || item.painted === `${opacity} ${cells}`) return;
  const { mistake } = item, picture = item.querySelector(".picture"), map = item.querySelector(".map");
  picture.width = pictures.width;
  picture.height = pictures.height;
  pictures.draw(picture.getContext("2d"), mistake.number);
  if (map) {
    map.width = map.height = 192;
    const found = { sheet: pictures, at: mistake.number, maps: mapsOf(mistake) };
    paintMap(map, found, found.maps.contrast);
  }
  item.painted = `${opacity} ${cells}`;
}

const repaint = () => shown.forEach(({ tile }) => tile?.near && paintTile(tile));

// State and address

function readAddress(hash) {
  const found = new URLSearchParams(hash.slice(1)), next = { ...NONE };
  for (const key of Object.keys(NONE)) if (found.has(key)) next[key] = found.get(key);
  for (const key of ["true", "predicted"]) if (!classes.includes(next[key])) next[key] = "";
  if (!Object.hasOwn(page.faults, next.fault)) next.fault = "";
  if (!Object.hasOwn(OUTCOMES, next.outcome)) next.outcome = "";
  if (!Object.hasOwn(ORDERS, next.order)) next.order = "loss";
  if (!byIndex.has(next.card)) next.card = "";
  return next;
}

function writeAddress(replace) {
  const kept = Object.entries(state).filter(([key, value]) => value !== NONE[key]);
  remember(kept.length ? `#${new URLSearchParams(kept)}` : "#mistakes", replace);
}

function remember(hash, replace) {
  try {
    history[replace ? "replaceState" : "pushState"](null, "", hash);
  } catch { /* a page within a notebook has no address of its own */ }
}

/** Show another state; `how`: push a step back, replace it, or leave the address as it is (null). */
function go(change, how = "push") {
  const before = state;
  state = { ...state, ...change };
  if (how) writeAddress(how === "replace");
  if ([...FILTERS, "order"].some((key) => before[key] !== state[key])) showTiles();
  showCard();
}

function showTiles() {
  const wanted = { true: classes.indexOf(state.true), predicted: classes.indexOf(state.predicted) };
  const fits = (mistake) => FILTERS.every((key) => !state[key] || mistake[key] === (wanted[key] ?? state[key]));
  shown = mistakes.filter(fits).sort(ORDERS[state.order][1]);
  list.replaceChildren(...shown.map((mistake) => mistake.tile ?? makeTile(mistake)));
  current = shown[0] ?? null;
  shown.forEach(({ tile }) => { tile.firstElementChild.tabIndex = -1; });
  if (current) current.tile.firstElementChild.tabIndex = 0;
  for (const key of [...FILTERS, "order"]) form.elements[key].value = state[key];
  const all = shown.length === mistakes.length;
  byId("count").textContent = all ? `${mistakes.length} shown` : `${shown.length} of ${mistakes.length} shown`;
  byId("reset").disabled = all && state.order === "loss";
  byId("none").hidden = shown.length > 0;
  byId("download").disabled = !shown.length;
  repaint();
}

// The card

function showCard() {
  const mistake = byIndex.get(state.card);
  if (!mistake || !pictures) {
    if (dialog.open) dialog.close();
    return;
  }
  const place = shown.indexOf(mistake), view = viewOf(mistake), explained = mistake.map !== undefined;
  const [label, answer, other] = [classes[mistake.true], classes[view.predicted], classes[view.other]];
  const title = byId("card-title"), arrow = document.createElement("span");
  arrow.textContent = " predicted as ";
  title.replaceChildren(label, arrow, answer);
  const where = place < 0 ? "hidden by the filters" : `${place + 1} of ${shown.length}, ${ORDERS[state.order][0]}`;
  byId("card-place").textContent = [`Test image ${mistake.index}`, mistake.file, where].filter(Boolean).join(" · ");
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place === shown.length - 1;
  dialog.classList.toggle("without-maps", !view.maps);
  byId("contrast-name").textContent = `Why ${answer}, not ${other}`;
  byId("predicted-name").textContent = `For ${answer}, the prediction`;
  byId("true-name").textContent = `For ${other}${view.other === mistake.true ? ", the label" : ""}`;
  byId("card-sentence").textContent = mistake.sentence ?? "";
  byId("card-fault").replaceChildren(Object.assign(document.createElement("b"), { textContent: mistake.fault ?? "" }), `: ${mistake.why ?? ""}`);
  byId("card-badge").textContent = mistake.health ?? "";
  byId("card-badge").dataset.dots = DOTS[mistake.health] ?? "";
  const reasons = (mistake.reasons?.length ? mistake.reasons : ["Passed every check."]).map((reason) => {
    const item = document.createElement("li");
    item.textContent = reason;
    return item;
  });
  byId("card-reasons").replaceChildren(...reasons);
  byId("part-test").hidden = byId("part-health").hidden = !explained;
  byId("part-fault").hidden = !mistake.fault;
  paintCard(mistake, view);
  showAnswers(mistake, view);
  showNear(mistake);
  if (!dialog.open) {
    dialog.showModal();
    title.focus();
  }
  dialog.dispatchEvent(new CustomEvent("card-shown", { detail: mistake }));
}

function paintCard(mistake, view = viewOf(mistake)) {
  const { sheet, at, mask } = view, { height, width } = sheet, side = Math.max(1, Math.round(480 / width));
  const sized = (id) => {
    const canvas = byId(id);
    canvas.width = width * side;
    canvas.height = height * side;
    return canvas;
  };
  const picture = sized("card-picture"), context = picture.getContext("2d");
  sheet.draw(context, at);
  let words = `Test image ${mistake.index}, labelled ${classes[mistake.true]}`;
  byId("picture-name").textContent = hiding && mask ? "The image without its evidence" : "The image";
  if (mask) {
    if (hiding) {
      const covered = blank(width, height);
      covered.putImageData(hidePixels(sheet.pixels(at), mask, maps.hide), 0, 0);
      context.drawImage(covered.canvas, 0, 0, picture.width, picture.height);
      words += ", with its evidence hidden";
    }
    outline(context, mask, width, height);
  }
  if (view.maps) {
    const end = view.maps.scale.toPrecision(2);
    for (const key of ["contrast", "predicted", "true"]) {
      const canvas = sized(`card-${key}`);
      paintMap(canvas, view, view.maps[key]);
      canvas.setAttribute("aria-label", `${byId(`${key}-name`).textContent}: strongest evidence ${strongest(view.maps[key], view.maps.grid.cells)}`);
    }
    byId("least").textContent = `against −${end}`;
    byId("most").textContent = `+${end} for${view.maps.grid.unit === "logits" ? ", in logits" : ""}`;
  }
  picture.setAttribute("aria-label", words);
}

/** A row for each class that the network or people chose: probabilities, before or after hiding, and votes. */
function showAnswers(mistake, { probabilities: row, predicted }) {
  const k = classes.length;
  const asked = votes ? votes.subarray(mistake.number * k, (mistake.number + 1) * k) : [];
  const people = asked.reduce((sum, count) => sum + count, 0), after = hiding && mistake.map !== undefined;
  const known = new Map([[mistake.answer, mistake.answer_after], [mistake.true, mistake.true_after], [mistake.predicted, mistake.predicted_after]]);
  const first = [predicted, mistake.true, mistake.predicted, mistake.answer].filter((one, at, all) => one !== undefined && all.indexOf(one) === at);
  const others = [...row.keys()].filter((one) => !first.includes(one) && (row[one] >= 0.01 || asked[one] > 0));
  others.sort((a, b) => row[b] - row[a]);
  const rows = [...first, ...others].slice(0, 6).map((one) => {
    const line = document.createElement("tr"), head = document.createElement("th");
    head.scope = "row";
    head.textContent = classes[one];
    const roles = [[mistake.true, "the label"], [predicted, "predicted"], [mistake.predicted, "before"], [mistake.answer, "when hidden"]];
    const role = roles.find(([owner]) => owner === one)?.[1];
    if (role) head.append(Object.assign(document.createElement("small"), { textContent: role }));
    const share = after ? known.get(one) : row[one];
    line.append(head, amount(share, share === undefined ? "–" : percent(share), ""));
    if (people) line.append(amount(asked[one] / people, `${asked[one]}`, "people"));
    return line;
  });
  byId("answers-title").textContent = people ? "Predicted probabilities and choices of people" : "Predicted probabilities";
  byId("net-head").textContent = after ? "when hidden" : "network";
  byId("people-head").hidden = !people;
  byId("people-head").textContent = `people, of ${people}`;
  byId("card-answers").replaceChildren(...rows);
}

function amount(share, text, kind) {
  const cell = document.createElement("td"), line = cell.appendChild(document.createElement("div"));
  cell.className = kind;
  line.className = "amount";
  const track = line.appendChild(document.createElement("span")), fill = track.appendChild(document.createElement("span"));
  track.className = "track";
  fill.style.width = `${100 * (share ?? 0)}%`;
  line.appendChild(document.createElement("span")).textContent = text;
  return cell;
}

function showNear(mistake) {
  byId("part-near").hidden = !near || !trainingPictures;
  if (byId("part-near").hidden) return;
  byId("card-copy").textContent = mistake.copy ?? "";
  byId("card-copy").hidden = !mistake.copy;
  const each = neighbours.each, half = each / 2;
  const groups = [mistake.predicted, mistake.true].map((one, group) => {
    const box = document.createElement("div");
    box.appendChild(document.createElement("p")).textContent = `Labelled ${classes[one]}`;
    for (let k = group * half; k < (group + 1) * half; k++) {
      const at = mistake.number * each + k;
      if (near.rows[at] < 0) continue;
      const item = box.appendChild(document.createElement("span")), canvas = item.appendChild(document.createElement("canvas"));
      canvas.width = neighbours.width;
      canvas.height = neighbours.height;
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Training image ${near.indices[at]}, labelled ${classes[one]}`);
      trainingPictures.draw(canvas.getContext("2d"), near.rows[at]);
      item.append(`${near.indices[at]}`, document.createElement("br"), `distance ${near.distances[at].toFixed(2)}`);
    }
    return box;
  });
  byId("card-near").replaceChildren(...groups);
}

function step(by) {
  const place = shown.indexOf(byIndex.get(state.card)) + by;
  if (shown[place]) go({ card: String(shown[place].index) }, "replace");
}

function focusTile(mistake) {
  if (!mistake) return;
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

function csv() {
  const columns = ["index", "file", "true", "predicted", "confidence", "true_probability", "loss", "fault", "why", "disagreement", "outcome", "answer", "predicted_after", "true_after", "health", "reasons", "sentence"];
  const used = columns.filter((column) => mistakes.some((mistake) => mistake[column] !== undefined));
  const named = (mistake, column) => (["true", "predicted", "answer"].includes(column) ? classes[mistake[column]] : mistake[column]);
  return [used, ...shown.map((mistake) => used.map((column) => named(mistake, column)))].map((row) => row.map(cell).join(",")).join("\n") + "\n";
}

function download() {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", csv()], { type: "text/csv" }));
  link.download = `${page.run}-mistakes.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// What a person does

function addOptions(name, pairs) {
  const select = form.elements[name];
  pairs.forEach(([value, text]) => select.append(new Option(text, value)));
  if (select.options.length < 2) select.closest("label").hidden = true;
}

function counted(key, name) {
  const count = new Map();
  mistakes.forEach((mistake) => count.set(mistake[key], (count.get(mistake[key]) ?? 0) + 1));
  return (value, text) => (count.get(value) ? [[name(value), `${text} (${count.get(value)})`]] : []);
}

for (const key of ["true", "predicted"]) {
  addOptions(key, classes.flatMap((name, number) => counted(key, () => name)(number, name)));
}
addOptions("fault", Object.entries(page.faults).flatMap(([fault, text]) => counted("fault", () => fault)(fault, `${fault}: ${text}`)));
addOptions("outcome", Object.entries(OUTCOMES).flatMap(([outcome, text]) => counted("outcome", () => outcome)(outcome, text)));
const judged = mistakes.some((mistake) => mistake.disagreement !== undefined);
addOptions("order", Object.entries(ORDERS).filter(([name]) => judged || name !== "people").map(([name, [text]]) => [name, text]));

form.addEventListener("change", (event) => go({ [event.target.name]: event.target.value }));
form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("reset", (event) => {
  event.preventDefault();
  go({ ...NONE });
});
byId("download").addEventListener("click", download);
list.addEventListener("click", (event) => {
  const item = event.target.closest("li");
  if (item) go({ card: String(item.mistake.index) });
});
list.addEventListener("keydown", (event) => {
  const columns = getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -Infinity, End: Infinity };
  if (!(event.key in moves) || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  const place = shown.indexOf(event.target.closest("li").mistake) + moves[event.key];
  focusTile(shown[Math.abs(moves[event.key]) === Infinity ? Math.min(Math.max(place, 0), shown.length - 1) : place]);
});
dialog.addEventListener("keydown", (event) => {
  if (event.target.type === "range" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
dialog.addEventListener("close", () => {
  const last = byIndex.get(state.card);
  if (state.card) go({ card: "" });
  if (last && shown.includes(last)) focusTile(last);
});
byId("close").addEventListener("click", () => dialog.close());
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("hide").addEventListener("change", (event) => {
  hiding = event.target.checked;
  showCard();
});
byId("opacity").addEventListener("input", (event) => {
  opacity = event.target.value / 100;
  paintCard(byIndex.get(state.card));
  repaint();
});
byId("cells").addEventListener("change", (event) => {
  cells = event.target.checked;
  paintCard(byIndex.get(state.card));
  repaint();
});
// Links within the page are followed by hand, because in a notebook they would lead to the notebook.
document.addEventListener("click", (event) => {
  const link = event.target.closest('a[href^="#"]');
  if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  const hash = link.getAttribute("href"), filtered = hash.includes("=");
  if (filtered) go(readAddress(hash));
  else remember(hash, true);
  const target = byId(filtered ? "mistakes" : hash.slice(1));
  target.scrollIntoView();
  target.focus({ preventScroll: true });
});
window.addEventListener("popstate", () => go(readAddress(location.hash), null));

showTiles();
Promise.all([
  Sheet.load(page.pictures),
  neighbours && Sheet.load(neighbours),
]).then(([test, training]) => {
  [pictures, trainingPictures] = [test, training];
  repaint();
  go(readAddress(location.hash), null);
  if (location.hash.includes("=")) byId("mistakes").scrollIntoView({ behavior: "instant" });
  document.documentElement.dataset.ready = "";
});
