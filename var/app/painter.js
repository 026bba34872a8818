// The mask of painter.py: the value is JSON {picture, width, height, mask}, a mask of one 0 or 1 for each pixel.
const canvas = element.querySelector("canvas"), context = canvas.getContext("2d"), image = new Image();
let state = null, brush = null, cursor = null, last = null;

const draw = () => {
  if (!state) return;
  const scale = Math.max(1, Math.floor(512 / Math.max(state.width, state.height)));
  canvas.width = state.width * scale;
  canvas.height = state.height * scale;
  context.imageSmoothingEnabled = false;
  if (image.complete && image.naturalWidth) context.drawImage(image, 0, 0, canvas.width, canvas.height);
  context.fillStyle = "rgba(190, 30, 160, .62)";
  for (let at = 0; at < state.mask.length; at++)
    if (state.mask[at])
      context.fillRect((at % state.width) * scale, Math.floor(at / state.width) * scale, scale, scale);
  if (cursor) {
    context.strokeStyle = "#b00090";
    context.lineWidth = 3;
    context.strokeRect(cursor.x * scale, cursor.y * scale, scale, scale);
  }
};
const read = () => {
  if (!props.value) return;
  const given = JSON.parse(props.value);
  state = { ...given, mask: Array.from(given.mask, Number) };
  image.onload = draw;
  image.src = given.picture;
  draw();
};
const send = () => (props.value = JSON.stringify({ ...state, mask: state.mask.join("") }));
const paint = (x, y, on, reach) => {
  for (let row = Math.max(0, y - reach); row <= Math.min(state.height - 1, y + reach); row++)
    for (let column = Math.max(0, x - reach); column <= Math.min(state.width - 1, x + reach); column++)
      state.mask[row * state.width + column] = on ? 1 : 0;
  draw();
};
const place = (event) => {
  const box = canvas.getBoundingClientRect(), within = (share, most) => Math.min(most - 1, Math.max(0, Math.floor(share * most)));
  return [
    within((event.clientX - box.left) / box.width, state.width),
    within((event.clientY - box.top) / box.height, state.height),
  ];
};
const reach = () => Math.max(0, Math.round(Math.max(state.width, state.height) / 32) - (state.width < 16 ? 1 : 0));

canvas.addEventListener("pointerdown", (event) => {
  if (!state) return;
  canvas.setPointerCapture(event.pointerId);
  const [x, y] = place(event);
  brush = !state.mask[y * state.width + x];
  paint(x, y, brush, reach());
  last = [x, y];
});
canvas.addEventListener("pointermove", (event) => {
  if (brush === null) return;
  const [x, y] = place(event), [fromX, fromY] = last, steps = Math.max(Math.abs(x - fromX), Math.abs(y - fromY), 1);
  for (let step = 1; step <= steps; step++)
    paint(Math.round(fromX + ((x - fromX) * step) / steps), Math.round(fromY + ((y - fromY) * step) / steps), brush, reach());
  last = [x, y];
});
for (const name of ["pointerup", "pointercancel"])
  canvas.addEventListener(name, () => {
    if (brush !== null) send();
    brush = null;
  });
canvas.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!state || (!steps && event.key !== " ")) return;
  event.preventDefault();
  cursor = cursor || { x: state.width >> 1, y: state.height >> 1 };
  if (steps) {
    cursor.x = Math.min(state.width - 1, Math.max(0, cursor.x + steps[0]));
    cursor.y = Math.min(state.height - 1, Math.max(0, cursor.y + steps[1]));
    draw();
  } else {
    paint(cursor.x, cursor.y, !state.mask[cursor.y * state.width + cursor.x], reach());
    send();
  }
});
canvas.addEventListener("blur", () => ((cursor = null), draw()));
watch("value", read);
read();
