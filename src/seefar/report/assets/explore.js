// More like this, and the map of the mistakes: both from the principal components of the network's features.

const { similar } = page, components = similar && unpack(similar.values, Int8Array);
const landscape = byId("landscape"), ground = byId("landscape-canvas");
const SIDE = 28, MARGIN = 24; // dots of a thumbnail, and around all of them
let sight = { x: 0, y: 0, zoom: 1 }, lasso = null, drawnLasso = null, dragged = null;

/** Squared distance of two mistakes in the principal components. */
function distance(one, other) {
  const { each } = similar, a = one.number * each, b = other.number * each;
  let sum = 0;
  for (let k = 0; k < each; k++) sum += (components[a + k] - components[b + k]) ** 2;
  return sum;
}

/** Places from 0 to 1 by rank along the first two components, so that the thumbnails are spread evenly. */
function places() {
  const axis = (k) => {
    const order = mistakes.map((_, number) => number).sort((a, b) => components[a * similar.each + k] - components[b * similar.each + k]);
    const rank = [];
    order.forEach((number, at) => { rank[number] = at / Math.max(1, order.length - 1); });
    return rank;
  };
  const [x, y] = [axis(0), axis(Math.min(1, similar.each - 1))];
  return mistakes.map((_, number) => [x[number], y[number]]);
}

const onMap = () => mistakes.filter((mistake) => !mistake.broken || shown[0]?.broken);

/** Where a mistake is on the canvas, in its dots. */
function spot([x, y]) {
  const at = (share, side, moved) => (MARGIN + share * (side - 2 * MARGIN) - side / 2) * sight.zoom + side / 2 + moved;
  return [at(x, ground.width, sight.x), at(y, ground.height, sight.y)];
}

function drawLandscape() {
  if (landscape.hidden || !pictures) return;
  const side = SIDE * devicePixelRatio * Math.sqrt(sight.zoom), style = getComputedStyle(document.documentElement), context = ground.getContext("2d");
  Object.assign(ground, { width: ground.clientWidth * devicePixelRatio, height: ground.clientHeight * devicePixelRatio });
  const inView = new Set(shown), { width, height, columns, picture } = pictures;
  for (const mistake of onMap().sort((a, b) => inView.has(a) - inView.has(b))) {
    const [x, y] = spot(landscape.places[mistake.number]), i = mistake.number;
    context.globalAlpha = inView.has(mistake) ? 1 : 0.12;
    context.fillStyle = style.getPropertyValue(`--${mistake.fault ?? "neutral"}`) || style.getPropertyValue("--neutral");
    context.fillRect(x - side / 2 - 2, y - side / 2 - 2, side + 4, side + 4);
    context.drawImage(picture, (i % columns) * width, Math.floor(i / columns) * height, width, height, x - side / 2, y - side / 2, side, side);
  }
  context.globalAlpha = 1;
  if (!drawnLasso) return;
  context.strokeStyle = style.getPropertyValue("--ink");
  context.lineWidth = 2 * devicePixelRatio;
  context.stroke(new Path2D(`M${drawnLasso.map(([x, y]) => `${x} ${y}`).join("L")}Z`));
}

/** Filter by the mistakes inside a drawn line; null ends the filter. */
function setLasso(points) {
  drawnLasso = points;
  const area = points && new Path2D(`M${points.map(([x, y]) => `${x} ${y}`).join("L")}Z`), context = ground.getContext("2d");
  lasso = points && new Set(onMap().filter(({ number }) => context.isPointInPath(area, ...spot(landscape.places[number]))));
  showTiles();
}

function zoomBy(factor) {
  const zoom = Math.min(12, Math.max(1, sight.zoom * factor)), by = zoom / sight.zoom;
  sight = { x: zoom === 1 ? 0 : sight.x * by, y: zoom === 1 ? 0 : sight.y * by, zoom };
  drawLandscape();
}

const dots = ({ offsetX, offsetY }) => [offsetX * devicePixelRatio, offsetY * devicePixelRatio];
ground.addEventListener("pointerdown", (event) => {
  ground.setPointerCapture(event.pointerId);
  dragged = { pan: event.shiftKey, points: [dots(event)], from: { ...sight } };
});
ground.addEventListener("pointermove", (event) => {
  if (!dragged) return;
  const [x, y] = dots(event), [startX, startY] = dragged.points[0];
  if (dragged.pan) sight = { ...dragged.from, x: dragged.from.x + x - startX, y: dragged.from.y + y - startY };
  else {
    dragged.points.push([x, y]);
    drawnLasso = dragged.points;
  }
  drawLandscape();
});
ground.addEventListener("pointerup", () => {
  const { pan, points } = dragged, [x, y] = points[0];
  dragged = null;
  if (pan) return;
  if (points.length > 8) {
    setLasso(points);
    return;
  }
  drawnLasso = null;
  const reach = (SIDE * devicePixelRatio * Math.sqrt(sight.zoom)) / 2 + 2;
  const hit = shown.find(({ number }) => spot(landscape.places[number]).every((at, axis) => Math.abs(at - [x, y][axis]) <= reach));
  if (hit) go({ card: String(hit.index) });
  else if (lasso) setLasso(null);
  else drawLandscape();
});
ground.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return; // else the page scrolls
  event.preventDefault();
  zoomBy(event.deltaY < 0 ? 1.25 : 0.8);
}, { passive: false });
byId("zoom-in").addEventListener("click", () => zoomBy(1.5));
byId("zoom-out").addEventListener("click", () => zoomBy(1 / 1.5));
byId("show-landscape").addEventListener("click", ({ target }) => {
  landscape.hidden = !landscape.hidden;
  target.setAttribute("aria-pressed", String(!landscape.hidden));
  landscape.places ??= places();
  if (landscape.hidden && lasso) setLasso(null);
  drawLandscape();
  if (!landscape.hidden) landscape.scrollIntoView({ block: "nearest", behavior: "instant" });
});
byId("more-like-this").addEventListener("click", () => go({ like: String(seen.index), order: "like", card: "" }));
addEventListener("resize", drawLandscape);
byId("show-landscape").hidden = byId("more-like-this").hidden = !similar;
