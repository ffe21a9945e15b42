// The card: one mistake with its maps, the effect of hiding the evidence, and its nearest training images.

const DOTS = { good: "●●●", fair: "●●○", poor: "●○○" };
let hiding = false, showsMaps = true, seen = null;

function showCard() {
  const mistake = byIndex.get(state.card);
  if (!mistake || !pictures) {
    if (dialog.open) dialog.close();
    return;
  }
  const isNew = seen !== mistake || !dialog.open;
  if (isNew) hiding = byId("hide").checked = false;
  seen = mistake;
  if (!dialog.open) {
    dialog.showModal();
    byId("card-title").focus();
  }
  const place = shown.indexOf(mistake), view = viewOf(mistake), tested = mistake.outcome !== undefined && !view.painted;
  const [label, answer, other] = [classes[mistake.true], classes[view.predicted], classes[view.other]];
  byId("card-title").replaceChildren(bdi(label), element("span", " predicted as "), bdi(answer));
  if (mistake.broken) byId("card-title").append(element("span", " by "), bdi(beside.name));
  if (view.painted) byId("card-title").append(element("span", ", painted over"));
  const where = place < 0 ? "hidden by the filters" : `${place + 1} of ${shown.length}, ${ORDERS[state.order][0]}`;
  byId("card-place").replaceChildren(`Test image ${mistake.index} · `, ...(mistake.file ? [bdi(mistake.file), " · "] : []), where);
  byId("previous").disabled = place <= 0;
  byId("next").disabled = place < 0 || place === shown.length - 1;
  dialog.classList.toggle("without-maps", !view.maps);
  byId("contrast-name").replaceChildren("Why ", bdi(answer), ", not ", bdi(other));
  byId("predicted-name").replaceChildren("For ", bdi(answer), mistake.broken ? `, the prediction of ${beside.name}` : ", the prediction");
  byId("true-name").replaceChildren("For ", bdi(other), view.other === mistake.true ? ", the label" : "");
  if (tested) showFacts(mistake);
  byId("card-fault").replaceChildren(element("b", mistake.fault ? page.faults[mistake.fault][0] : "", { className: `fault fault-${mistake.fault}` }), `: ${mistake.why ?? ""}`);
  byId("card-badge").textContent = mistake.health ?? "";
  byId("card-badge").dataset.dots = DOTS[mistake.health] ?? "";
  const reasons = mistake.reasons?.length ? mistake.reasons : ["Passed every check."];
  byId("card-reasons").replaceChildren(...reasons.map((reason) => element("li", asSentence(reason))));
  byId("part-test").hidden = byId("part-health").hidden = !tested;
  byId("part-fault").hidden = !mistake.fault;
  paintCard(mistake, view);
  showAnswers(mistake, view);
  showBeside(mistake);
  if (isNew) showNear(mistake); // not after each stroke of the brush
  showNote(mistake);
  dialog.dispatchEvent(new CustomEvent("card-shown", { detail: mistake }));
}

const asSentence = (text) => text[0].toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : ".");

/** The occlusion test in two or three sentences. */
function showFacts(mistake) {
  const fall = `${percent(mistake.confidence)} → ${percent(mistake.predicted_after)}.`, share = `Hiding ${whole(mistake.hidden_share)} of the image: `;
  const fact = (...parts) => {
    const item = element("li");
    item.append(...parts);
    return item;
  };
  const [before, after] = [bdi(classes[mistake.predicted]), bdi(classes[mistake.answer])];
  const repaired = mistake.outcome === "repaired" ? ", repaired" : "";
  const facts = mistake.outcome === "stays" ? [fact(share, "still ", before, `, ${fall}`)]
    : [fact(share, after, ` ${percent(mistake.answer_after)}${repaired}.`), fact(before, ` ${fall}`)];
  facts.push(fact(mistake.control_share ? `Hiding ${whole(mistake.control_share)} elsewhere (control mask) changes the prediction too.`
    : "Hiding as much elsewhere (control mask): no change."));
  byId("card-facts").replaceChildren(...facts);
}

/** Where on the map the strongest evidence is, in words for screen readers. */
function strongest(values, [h, w]) {
  const at = values.indexOf(values.reduce((a, b) => Math.max(a, b)));
  const third = (place, count, names) => names[Math.min(2, Math.floor((3 * place) / count))];
  const row = third(Math.floor(at / w), h, ["top", "middle", "bottom"]);
  return `${row} ${third(at % w, w, ["left", "centre", "right"])}`;
}

/** A canvas in which each pixel of the image is a square of the same integer number of dots. */
function sized(canvas, { height, width }) {
  const dots = (canvas.clientWidth || 240) * devicePixelRatio;
  const side = Math.max(1, Math.round(dots / width));
  return Object.assign(canvas, { width: width * side, height: height * side });
}

function paintCard(mistake, view = viewOf(mistake)) {
  const { sheet, at, mask } = view, { height, width } = sheet;
  const picture = sized(byId("card-picture"), sheet), context = picture.getContext("2d");
  sheet.draw(context, at);
  let words = `Test image ${mistake.index}, labelled ${classes[mistake.true]}`;
  byId("picture-name").textContent = view.painted ? "The image, painted over" : hiding && mask ? "The image without its evidence" : "The image";
  if (mask) {
    if (hiding) {
      putPixels(context, hidePixels(sheet.pixels(at), mask, view.maps.grid.hide));
      words += ", with its evidence hidden";
    }
    outline(context, mask, width, height);
  }
  if (view.maps) {
    const { grid, scale } = view.maps, end = scale.toPrecision(2);
    for (const key of ["contrast", "predicted", "true"]) {
      const canvas = sized(byId(`card-${key}`), sheet);
      if (showsMaps) putPixels(canvas.getContext("2d"), mapOver(view, view.maps[key]));
      else sheet.draw(canvas.getContext("2d"), at);
      canvas.setAttribute("aria-label", `${byId(`${key}-name`).textContent}: strongest evidence ${strongest(view.maps[key], grid.cells)}`);
    }
    if (mask && !view.painted) outline(byId("card-contrast").getContext("2d"), mask, width, height);
    byId("least").textContent = `against −${end}`;
    byId("most").textContent = `+${end} for${grid.unit === "logits" ? ", in logits" : ""}`;
  }
  picture.setAttribute("aria-label", words);
}

/** The probabilities by class that are known after hiding the evidence; `other` is the class beside the prediction. */
const afterHiding = (mistake, other) => (
  new Map([[mistake.answer, mistake.answer_after], [other, mistake.true_after], [mistake.predicted, mistake.predicted_after]]));

/** A row for each class with probability or votes: probabilities, before or after hiding, and votes. */
function showAnswers(mistake, { probabilities: row, predicted, other }) {
  const k = classes.length;
  const asked = votes ? votes.subarray(mistake.number * k, (mistake.number + 1) * k) : [];
  const people = asked.reduce((sum, count) => sum + count, 0), after = hiding && mistake.outcome !== undefined;
  const known = afterHiding(mistake, other);
  const first = [predicted, mistake.true, mistake.predicted, mistake.answer].filter((one, at, all) => one !== undefined && all.indexOf(one) === at);
  const others = [...Array(k).keys()].filter((one) => !first.includes(one) && (row[one] >= 0.01 || asked[one] > 0));
  const most = (one) => Math.max(row[one] ?? 0, people ? asked[one] / people : 0);
  others.sort((a, b) => most(b) - most(a));
  const classesShown = after ? first : [...first, ...others].slice(0, 6).sort((a, b) => (row[b] ?? 0) - (row[a] ?? 0));
  const rows = classesShown.map((one) => {
    const line = element("tr"), head = element("th", "", { scope: "row" });
    head.append(bdi(classes[one]));
    const answer = mistake.broken ? `by ${beside.name}` : "prediction";
    const roles = [[mistake.true, "label"], [predicted, answer], [mistake.predicted, "before"], ...(after ? [[mistake.answer, "when hidden"]] : [])];
    const role = roles.find(([owner]) => owner === one)?.[1];
    if (role) head.append(" ", element("small", role));
    const share = after ? known.get(one) : row[one];
    line.append(head, amount(share, share === undefined ? "–" : percent(share), ""));
    if (people) line.append(amount(asked[one] / people, `${asked[one]}`, "people"));
    return line;
  });
  byId("part-answers").hidden = !row.length && !people;
  byId("answers-title").textContent = people ? "Probabilities and votes of people" : "Probabilities";
  byId("net-head").textContent = after ? "when hidden" : "network";
  byId("people-head").hidden = !people;
  byId("people-head").textContent = `people, of ${people}`;
  byId("card-answers").replaceChildren(...rows);
}

/** The prediction and the map of the other run; those of a broken mistake are shown large already. */
function showBeside(mistake) {
  const isKnown = beside && mistake.number >= 0, row = besideRows.get(mistake.index), canvas = byId("card-beside");
  byId("part-beside").hidden = !isKnown;
  canvas.hidden = mistake.broken || row === undefined;
  if (!isKnown) return;
  const predicted = beside.predicted[mistake.number];
  const kind = predicted === mistake.true ? "the label (luck)" : predicted === mistake.predicted ? "the same wrong class" : "another wrong class";
  byId("beside-words").replaceChildren(bdi(beside.name), " predicts ", bdi(classes[predicted]), mistake.broken ? "." : `, ${kind}.`);
  if (mistake.broken) byId("beside-words").append(" This run predicts ", bdi(classes[mistake.true]), ", the label.");
  if (canvas.hidden) return;
  const view = { ...viewOf(mistake), maps: mapsOf(row, beside.maps) };
  putPixels(sized(canvas, view.sheet).getContext("2d"), mapOver(view, view.maps.contrast));
  canvas.setAttribute("aria-label", `Why ${classes[predicted]}, not ${classes[mistake.true]}, in ${beside.name}`);
  byId("beside-words").append(" Its map shows why ", bdi(classes[predicted]), ", not ", bdi(classes[mistake.true]), ".");
}

function amount(share, text, kind) {
  const box = element("td", "", { className: kind }), line = box.appendChild(element("div", "", { className: "amount" }));
  const fill = line.appendChild(element("span", "", { className: "track" })).appendChild(element("span"));
  fill.style.width = `${100 * (share ?? 0)}%`;
  line.append(element("span", text));
  return box;
}

function showNear(mistake) {
  byId("part-near").hidden = !near || mistake.number < 0 || mistake.broken;
  if (byId("part-near").hidden) return;
  byId("card-copy").textContent = mistake.copy ?? "";
  byId("card-copy").hidden = !mistake.copy;
  const each = neighbours.each, half = each / 2, thumbnails = [];
  const groups = [mistake.predicted, mistake.true].map((one, group) => {
    const box = element("div"), title = box.appendChild(element("p", "Labelled "));
    title.append(bdi(classes[one]));
    for (let k = group * half; k < (group + 1) * half; k++) {
      const at = mistake.number * each + k;
      if (near.rows[at] < 0) continue;
      const item = box.appendChild(element("span"));
      const canvas = item.appendChild(element("canvas", "", { width: neighbours.width, height: neighbours.height }));
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `Training image ${near.indices[at]}, labelled ${classes[one]}`);
      thumbnails.push([canvas.getContext("2d"), near.rows[at]]);
      item.append(`${near.indices[at]}`, element("br"), `distance ${near.distances[at].toFixed(2)}`);
    }
    return box;
  });
  byId("card-near").replaceChildren(...groups);
  trainingPictures ??= Sheet.load(neighbours); // decoded when the first card opens
  trainingPictures.then((sheet) => thumbnails.forEach(([context, row]) => sheet.draw(context, row)));
}

function step(by) {
  const mistake = shown[shown.indexOf(byIndex.get(state.card)) + by];
  if (mistake) go({ card: String(mistake.index) }, "replace");
}

dialog.addEventListener("keydown", (event) => {
  if (typing(event)) return;
  const keys = { ArrowLeft: () => step(-1), ArrowRight: () => step(1), h: () => byId("hide").click(), m: () => byId("maps").click() };
  keys[event.key]?.();
});
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
/** Closing a card undoes the step of the history that opened it, so that Back continues from there. */
dialog.addEventListener("close", () => {
  if (state.card && history.state?.card) history.back();
  else if (state.card) go({ card: "" }, "replace");
  focusTile(seen);
});
byId("close").addEventListener("click", () => dialog.close());
byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("hide").addEventListener("change", (event) => {
  hiding = event.target.checked;
  paintCard(seen);
  showAnswers(seen, viewOf(seen));
});
byId("maps").addEventListener("change", (event) => {
  showsMaps = event.target.checked;
  paintCard(seen);
});
addEventListener("resize", () => dialog.open && paintCard(seen));
