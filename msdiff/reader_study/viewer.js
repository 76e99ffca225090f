"use strict";
// The two panels: pictures of a case, window and level, zoom, outline. All comes from the JSON element `study`.

/** The panels of the page, and what can be done with them. */
function makeViewer(study) {
  const LEVELS = 4096; // of a pixel, as packed by pictures.py
  const LARGEST_ZOOM = 12;
  const STEP = 0.05; // of the range of intensities, for one press of window or level
  const [WIDTH, HEIGHT] = study.size;
  const WIDTH_MM = WIDTH * study.spacing_mm[0];
  const HEIGHT_MM = HEIGHT * study.spacing_mm[1];
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const firstWindow = { level: (study.window[0] + study.window[1]) / 2, width: study.window[1] - study.window[0] };
  const view = { ...firstWindow, zoom: 1, x: 0, y: 0, outline: false, flip: false };
  let shown = null; // decoded pictures of the current case

  const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

  /** 12-bit pixels, two in three bytes. */
  function unpackImage(text) {
    const bytes = bytesOf(text);
    const pixels = new Uint16Array((bytes.length / 3) * 2);
    for (let from = 0, to = 0; from < bytes.length; from += 3, to += 2) {
      pixels[to] = (bytes[from] << 4) | (bytes[from + 1] >> 4);
      pixels[to + 1] = ((bytes[from + 1] & 15) << 8) | bytes[from + 2];
    }
    return pixels.subarray(0, WIDTH * HEIGHT);
  }

  /** The border of a mask along the edges of its pixels, in pixels of the slice. */
  function outlineOf(text) {
    const bytes = bytesOf(text);
    const at = (x, y) => {
      const place = y * WIDTH + x;
      return x >= 0 && y >= 0 && x < WIDTH && y < HEIGHT && ((bytes[place >> 3] >> (7 - (place & 7))) & 1) === 1;
    };
    const path = new Path2D();
    const line = (x0, y0, x1, y1) => {
      path.moveTo(x0, y0);
      path.lineTo(x1, y1);
    };
    for (let y = 0; y <= HEIGHT; y++) {
      for (let x = 0; x <= WIDTH; x++) {
        if (at(x, y) !== at(x, y - 1)) line(x, y, x + 1, y);
        if (at(x, y) !== at(x - 1, y)) line(x, y, x, y + 1);
      }
    }
    return path;
  }

  const panels = all("[data-panel]").map((figure) => ({
    name: figure.dataset.panel,
    caption: figure.querySelector("figcaption"),
    canvas: figure.querySelector("canvas"),
    slice: Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT }),
  }));

  /** Grey levels of the slice under window and level. */
  function paintSlice(panel) {
    const table = new Uint8ClampedArray(LEVELS);
    const low = view.level - view.width / 2;
    for (let code = 0; code < LEVELS; code++) table[code] = (255 * (code / (LEVELS - 1) - low)) / view.width;
    const source = shown[view.flip ? "baseline" : panel.name];
    const context = panel.slice.getContext("2d");
    const image = context.createImageData(WIDTH, HEIGHT);
    const pixels = new Uint32Array(image.data.buffer);
    for (let place = 0; place < source.length; place++) pixels[place] = 0xff000000 | (table[source[place]] * 0x010101);
    context.putImageData(image, 0, 0);
  }

  /** Canvas pixels per mm: the same in both panels and in every case. */
  const scaleOf = (canvas) => Math.min(canvas.width / WIDTH_MM, canvas.height / HEIGHT_MM) * view.zoom;

  function drawPanel(panel) {
    const canvas = panel.canvas;
    const ratio = window.devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * ratio);
    canvas.height = Math.round(canvas.clientHeight * ratio);
    const context = canvas.getContext("2d");
    const scale = scaleOf(canvas);
    const [sx, sy] = study.spacing_mm.map((side) => side * scale);
    const left = canvas.width / 2 + view.x * ratio - (WIDTH * sx) / 2;
    const top = canvas.height / 2 + view.y * ratio - (HEIGHT * sy) / 2;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(panel.slice, left, top, WIDTH * sx, HEIGHT * sy);
    if (view.outline) {
      const path = new Path2D();
      path.addPath(shown.outline, new DOMMatrix([sx, 0, 0, sy, left, top]));
      context.lineCap = "square";
      for (const [colour, width] of [["#000000", 3.5], ["#ff9a3c", 1.8]]) {
        context.strokeStyle = colour;
        context.lineWidth = width * ratio;
        context.stroke(path);
      }
    }
    drawScale(context, canvas, scale, ratio);
  }

  /** A bar of 50, 20, 10 or 5 mm at the lower left. */
  function drawScale(context, canvas, scale, ratio) {
    const length = [50, 20, 10, 5].find((mm) => mm * scale < canvas.width / 3) || 5;
    const [x, y] = [12 * ratio, canvas.height - 12 * ratio];
    context.font = `${12 * ratio}px system-ui, sans-serif`;
    context.fillStyle = "#f2f4f6";
    context.fillRect(x, y, length * scale, 2 * ratio);
    context.strokeStyle = "#000000";
    context.lineWidth = 3 * ratio;
    context.strokeText(`${length} mm`, x, y - 5 * ratio);
    context.fillText(`${length} mm`, x, y - 5 * ratio);
  }

  function draw() {
    if (!shown) return;
    for (const panel of panels) {
      paintSlice(panel);
      drawPanel(panel);
      const flipped = view.flip && panel.name === "follow_up";
      panel.caption.textContent = panel.name === "baseline" || flipped ? "Baseline" : "Follow-up";
      panel.caption.classList.toggle("flipped", flipped);
    }
    byId("outline").setAttribute("aria-pressed", view.outline);
    byId("flip").setAttribute("aria-pressed", view.flip);
    byId("zoom-shown").textContent = `${Math.round(100 * view.zoom)} %`;
    byId("window-shown").textContent = `W ${Math.round(100 * view.width)}  L ${Math.round(100 * view.level)}`;
  }

  const setWindow = (level, width) => {
    view.level = clamp(level, 0, 1);
    view.width = clamp(width, 0.05, 2);
    draw();
  };
  const brighten = (steps) => setWindow(view.level - steps * STEP, view.width);
  const harden = (steps) => setWindow(view.level, view.width - steps * STEP);
  const toggle = (what, value = !view[what]) => {
    view[what] = value;
    draw();
  };

  /** Zoom about a point, in CSS pixels from the middle of a panel. */
  function zoom(factor, x = 0, y = 0) {
    const to = clamp(view.zoom * factor, 1, LARGEST_ZOOM);
    const share = to / view.zoom;
    view.zoom = to;
    move(x + (view.x - x) * share - view.x, y + (view.y - y) * share - view.y);
  }

  function move(x, y) {
    const canvas = panels[0].canvas;
    view.x = clamp(view.x + x, (-canvas.clientWidth / 2) * (view.zoom - 1), (canvas.clientWidth / 2) * (view.zoom - 1));
    view.y = clamp(view.y + y, (-canvas.clientHeight / 2) * (view.zoom - 1), (canvas.clientHeight / 2) * (view.zoom - 1));
    draw();
  }

  /** Shows a case from the start; window and level stay, for all scans are normalised alike. */
  function show(packed, outline) {
    shown = {
      baseline: unpackImage(packed.baseline),
      follow_up: unpackImage(packed.follow_up),
      outline: outlineOf(packed.mask),
    };
    Object.assign(view, { zoom: 1, x: 0, y: 0, flip: false, outline });
    draw();
  }

  function reset() {
    Object.assign(view, firstWindow, { zoom: 1, x: 0, y: 0, flip: false });
    draw();
  }

  for (const { canvas } of panels) {
    let from = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button > 1) return;
      event.preventDefault();
      canvas.setPointerCapture(event.pointerId);
      from = { x: event.clientX, y: event.clientY, moves: event.shiftKey || event.button === 1 };
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!from) return;
      const [x, y] = [event.clientX - from.x, event.clientY - from.y];
      Object.assign(from, { x: event.clientX, y: event.clientY });
      if (from.moves) move(x, y);
      else setWindow(view.level + y / canvas.clientHeight, view.width + x / canvas.clientWidth);
    });
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (from = null));
    canvas.addEventListener("dblclick", reset);
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        const box = canvas.getBoundingClientRect();
        zoom(
          event.deltaY < 0 ? 1.2 : 1 / 1.2,
          event.clientX - box.left - box.width / 2,
          event.clientY - box.top - box.height / 2
        );
      },
      { passive: false }
    );
  }

  new ResizeObserver(draw).observe(panels[0].canvas);
  all(".mark.left").forEach((mark) => (mark.textContent = study.sides[0]));
  all(".mark.right").forEach((mark) => (mark.textContent = study.sides[1]));
  return { show, toggle, brighten, harden, zoom, move, reset };
}
