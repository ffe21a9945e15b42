// The live part, which `seefar app` adds to the page: images are painted over, or dropped, and predicted again.
// In a block of its own, so that its names do not clash with those of the page.
{
  const BLURRED_PIXELS = 128 * 128; // blurring more takes longer than a stroke
  const COLOURS = { grey: [128, 128, 128], black: [0, 0, 0], white: [255, 255, 255] };
  const group = (tag, more, ...children) => {
    const made = element(tag, "", more);
    made.append(...children);
    return made;
  };
  const button = (id, text) => element("button", text, { type: "button", id });
  const [cover, undo, clear] = [button("cover", "Paint the outline"), button("undo", "Undo"), button("clear", "Clear")];
  const size = element("input", "", { type: "range", id: "brush-size", min: 1 });
  const [colour, against] = ["brush-colour", "against"].map((id) => element("select", "", { id }));
  const [status, ownStatus] = ["live-status", "own-status"].map((id) => element("output", "", { id }));
  const chosen = element("input", "", { type: "file", id: "own-file", hidden: true }), choose = button("own-choose", "Choose a file");
  const ownList = element("ul", "", { id: "own-list" }), picture = byId("card-picture");
  let work = null, waiting = null, busy = false, mask = null, last = null;

  const say = (text) => {
    status.textContent = text || "Paint over the image";
    ownStatus.textContent = dialog.open ? "" : text;
  };

  // Predictions of the server

  async function post(address, body) {
    for (;;) {
      const response = await fetch(address, { method: "POST", body }).catch(() => {
        throw new Error("The server does not respond. Is seefar app still running?");
      });
      if (response.status !== 503) {
        const answer = await response.json();
        if (!response.ok) throw new Error(answer.error);
        return answer;
      }
      await new Promise((done) => { setTimeout(done, 300); }); // the server is busy
    }
  }

  /** A view with its prediction. Maps keep the scale of those before, so that vanishing evidence is visible. */
  function predicted(view, answer) {
    const both = unpack(answer.maps, Float32Array), count = both.length / 2;
    const maps = contrasted(both.subarray(0, count), both.subarray(count), answer.grid);
    maps.scale = Math.max(maps.scale, view.maps?.scale ?? 0);
    return { ...view, maps, predicted: answer.predicted, other: answer.other, probabilities: unpack(answer.probabilities, Float32Array) };
  }

  const named = ({ predicted: one, probabilities: of }) => `${classes[one]} ${percent(of[one])}`;

  /** Predict the painted image. One request at a time: of the strokes painted meanwhile, only the last state is sent. */
  async function predict() {
    waiting = work;
    if (busy) return;
    status.ariaBusy = busy = true;
    while (waiting) {
      const one = waiting, { base, context } = one;
      waiting = null;
      try {
        const pixels = context.getImageData(0, 0, base.sheet.width, base.sheet.height).data.filter((_, at) => at % 4 < 3);
        const view = predicted({ ...base, sheet: one.sheet, at: 0, painted: one.past.length > 0 }, await post(`predict?other=${against.value}`, pixels));
        if (one !== work) continue; // another card is open
        views.set(one.mistake, view);
        showCard();
        say(one.past.length ? `${named(base)} → ${named(view)}` : "");
      } catch (error) {
        say(asSentence(error.message));
      }
    }
    status.ariaBusy = busy = false;
  }

  // The brush

  /** Start with a mistake that is not painted over. */
  function start(mistake) {
    const base = viewOf(mistake), { width, height } = base.sheet, context = blank(width, height);
    base.sheet.draw(context, base.at);
    work = { mistake, base, context, sheet: new Sheet(context.canvas, { width, height, columns: 1 }), past: [] };
    Object.assign(size, { max: Math.ceil(width / 2), value: Math.ceil(width / 6) });
    const first = mistake.true === undefined ? "the runner-up" : `${classes[mistake.true]}, the label`;
    const others = classes.map((name, number) => new Option(name, number)).filter((_, number) => number !== mistake.true);
    against.replaceChildren(new Option(first, mistake.true ?? ""), ...others);
    const blurs = width * height > BLURRED_PIXELS ? [] : [new Option("blur")];
    colour.replaceChildren(...Object.keys(COLOURS).map((name) => new Option(name)), ...blurs);
    cover.hidden = !base.mask;
    undo.disabled = clear.disabled = true;
    byId("hide").disabled = false;
    say("");
    if (!base.maps) predict();
  }

  function startStroke() {
    const { context, sheet, past } = work;
    if (byId("hide").checked) byId("hide").click();
    past.push(context.getImageData(0, 0, sheet.width, sheet.height));
    mask = new Uint8Array(sheet.width * sheet.height);
    undo.disabled = clear.disabled = false;
    byId("hide").disabled = true; // it would take the strokes back
  }

  /** Fill the pixels of the mask, and show and predict it. */
  function fillMask() {
    const { context, sheet, base, past } = work, { width, height } = sheet, before = past.at(-1);
    const image = new ImageData(new Uint8ClampedArray(before.data), width, height);
    if (colour.value === "blur") hidePixels(image, mask, "blur");
    else mask.forEach((inside, at) => { if (inside) image.data.set(COLOURS[colour.value], 4 * at); });
    context.putImageData(image, 0, 0);
    sheet.draw(picture.getContext("2d"), 0);
    if (base.mask) outline(picture.getContext("2d"), base.mask, width, height);
    predict();
  }

  /** The brush along the line from its last place to this one, in pixels of the image. */
  function brushTo(x, y) {
    const { width, height } = work.sheet, radius = size.value / 2, [fromX, fromY] = last ?? [x, y];
    const steps = Math.ceil(Math.hypot(x - fromX, y - fromY)) || 1;
    for (let step = 1; step <= steps; step++) {
      const atX = fromX + ((x - fromX) * step) / steps, atY = fromY + ((y - fromY) * step) / steps;
      for (let row = Math.max(0, Math.floor(atY - radius)); row < Math.min(height, atY + radius); row++) {
        for (let column = Math.max(0, Math.floor(atX - radius)); column < Math.min(width, atX + radius); column++) {
          if (Math.hypot(column + 0.5 - atX, row + 0.5 - atY) <= Math.max(radius, 0.71)) mask[row * width + column] = 1;
        }
      }
    }
    last = [x, y];
    fillMask();
  }

  /** Take strokes back: the last one, or all of them. */
  function back(count) {
    const { mistake, base, context, past } = work;
    context.putImageData(past.splice(-count)[0], 0, 0);
    undo.disabled = clear.disabled = !past.length;
    if (past.length) return predict();
    views.set(mistake, base);
    start(mistake);
    return showCard();
  }

  picture.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    picture.setPointerCapture(event.pointerId);
    last = null;
    startStroke();
    moved(event);
  });
  function moved(event) {
    if (!picture.hasPointerCapture(event.pointerId)) return;
    const box = picture.getBoundingClientRect(), { width, height } = work.sheet;
    brushTo(((event.clientX - box.left) / box.width) * width, ((event.clientY - box.top) / box.height) * height);
  }
  picture.addEventListener("pointermove", moved);
  cover.addEventListener("click", () => {
    startStroke();
    mask = work.base.mask;
    fillMask();
  });
  undo.addEventListener("click", () => back(1));
  clear.addEventListener("click", () => back(Infinity));
  against.addEventListener("change", predict);
  dialog.addEventListener("card-shown", ({ detail: mistake }) => {
    if (mistake !== work?.mistake) {
      if (work) views.set(work.mistake, work.base);
      start(mistake);
    }
    dialog.classList.toggle("own-card", mistake.true === undefined);
    if (mistake.true !== undefined) return;
    const [title, place] = [byId("card-title"), byId("card-place")], view = viewOf(mistake);
    title.replaceChildren(bdi(classes[view.predicted]), element("span", " rather than "), bdi(classes[view.other]));
    place.replaceChildren(bdi(mistake.file), ` · ${mistake.about}`);
    picture.setAttribute("aria-label", mistake.file);
  });

  // The visitor's pictures

  async function open(file) {
    if (!file) return;
    try {
      say(`Reading ${file.name} …`);
      const answer = await post("picture", file), { width, height } = pictures, context = blank(width, height);
      const image = new ImageData(width, height), pixels = unpack(answer.pixels, Uint8Array);
      for (let at = 0; at < width * height; at++) image.data.set([...pixels.subarray(3 * at, 3 * at + 3), 255], 4 * at);
      context.putImageData(image, 0, 0);
      const own = { ...answer, index: `own-${ownList.children.length + 1}`, number: -1, file: file.name || "the clipboard" };
      const sheet = new Sheet(context.canvas, { width, height, columns: 1 });
      views.set(own, predicted({ sheet, at: 0, mask: maskOf(unpack(answer.hidden, Uint8Array), 0, width * height) }, answer));
      byIndex.set(own.index, own);
      const tile = group("button", { type: "button", title: own.file }, context.canvas, bdi(own.file), element("b", named(viewOf(own))));
      tile.addEventListener("click", () => go({ card: own.index }));
      ownList.append(group("li", {}, tile));
      say("");
      go({ card: own.index }, dialog.open ? "replace" : "push");
    } catch (error) {
      say(asSentence(error.message));
    }
  }

  choose.addEventListener("click", () => chosen.click());
  chosen.addEventListener("change", () => {
    open(chosen.files[0]);
    chosen.value = "";
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    open(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => open(event.clipboardData.files[0]));

  const label = (text, input) => group("label", { className: "check" }, text, input);
  picture.closest("figure").parentElement.after(group("div", { id: "live", className: "controls" },
    status, label("Brush", size), label("Colour", colour), label("Why not", against),
    group("span", { className: "buttons" }, cover, undo, clear)));
  document.querySelector(".origin-line").after(group("div", { id: "own" },
    group("p", {}, element("b", "Your own picture: "), "drop it anywhere on this page, paste it, or ", choose, chosen, ownStatus), ownList));
}
