"use strict";
// The reader's page. No library, no network: all comes from the JSON element `study`.
(() => {
  const LEVELS = 4096; // of a pixel, as packed by pictures.py
  const COLUMNS = ["reader", "study", "case", "quality", "plausibility", "adherence", "comment", "seconds", "time"];
  const ADHERENCE = 2; // the question about the outline
  const LARGEST_ZOOM = 12;
  const STEP = 0.05; // of the range of intensities, for one key press of window or level
  const PAN = 40; // pixels for one press of an arrow

  const study = JSON.parse(document.getElementById("study").textContent);
  const [WIDTH, HEIGHT] = study.size;
  const WIDTH_MM = WIDTH * study.spacing_mm[0];
  const HEIGHT_MM = HEIGHT * study.spacing_mm[1];
  const CASES = study.cases.length;
  const KEY = `msdiff-reader-study/${study.study}/`;
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

  // ---- Pictures -------------------------------------------------------------------------------------------------

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

  // ---- State ----------------------------------------------------------------------------------------------------

  const firstWindow = { level: (study.window[0] + study.window[1]) / 2, width: study.window[1] - study.window[0] };
  const view = { ...firstWindow, zoom: 1, x: 0, y: 0, outline: false, flip: false };
  let reader = "";
  let answers = []; // per case: { scores: [number or null] * 3, comment, seconds, time }
  let current = 0;
  let active = 0; // the marked question
  let savedToFile = true;
  let storageWorks = true;
  let shown = null; // decoded pictures of the current case
  let since = null; // when the clock of the current case last started

  const emptyAnswer = () => ({ scores: [null, null, null], comment: "", seconds: 0, time: "" });
  const isComplete = (answer) => answer.scores.every((score) => score !== null);
  const isStarted = (answer) => answer.scores.some((score) => score !== null) || answer.comment !== "";
  const openCases = () => answers.flatMap((answer, place) => (isComplete(answer) ? [] : [place]));

  function keep() {
    try {
      localStorage.setItem(KEY + reader, JSON.stringify({ answers, current, savedToFile }));
    } catch {
      storageWorks = false;
    }
    const works = storageWorks ? "Kept in this browser" : "Not kept by this browser: save to a file";
    byId("kept").textContent = savedToFile && answers.some(isStarted) ? "Saved to a file" : works;
    byId("kept").classList.toggle("fault", !storageWorks);
  }

  function kept(name) {
    try {
      const found = JSON.parse(localStorage.getItem(KEY + name));
      return found && found.answers.length === CASES ? found : null;
    } catch {
      return null;
    }
  }

  function keptReaders() {
    try {
      const names = Object.keys(localStorage).filter((key) => key.startsWith(KEY));
      return names.map((key) => key.slice(KEY.length)).sort();
    } catch {
      return [];
    }
  }

  /** Adds the time that the case was on the screen; the clock stands while the page is hidden or a dialog is open. */
  function tick() {
    const now = performance.now();
    if (since !== null && reader) answers[current].seconds += (now - since) / 1000;
    const watching = reader && !document.hidden && !document.querySelector("dialog[open]");
    since = watching ? now : null;
  }

  function changed() {
    tick();
    answers[current].time = new Date().toISOString().slice(0, 19) + "Z";
    savedToFile = false;
    keep();
    showProgress();
  }

  // ---- Drawing --------------------------------------------------------------------------------------------------

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

  function resetView() {
    Object.assign(view, firstWindow, { zoom: 1, x: 0, y: 0, flip: false });
    draw();
  }

  // ---- Cases and answers ----------------------------------------------------------------------------------------

  function showCase(place) {
    tick();
    current = clamp(place, 0, CASES - 1);
    const packed = study.cases[current];
    shown = {
      baseline: unpackImage(packed.baseline),
      follow_up: unpackImage(packed.follow_up),
      outline: outlineOf(packed.mask),
    };
    const answer = answers[current];
    // Window and level stay, for all scans are normalised alike.
    Object.assign(view, { zoom: 1, x: 0, y: 0, flip: false, outline: isComplete(answer) });
    byId("case-title").textContent = `Case ${current + 1} of ${CASES}`;
    byId("comment").value = answer.comment;
    byId("previous").disabled = current === 0;
    mark(Math.max(0, answer.scores.indexOf(null)));
    if (document.activeElement.type === "radio") focusQuestion(active);
    showProgress();
    say(`Case ${current + 1}${isComplete(answer) ? ", answered" : ""}`);
    tick();
    keep();
  }

  function showAnswers() {
    study.questions.forEach((question, number) => {
      for (const input of all(`input[name="${question.name}"]`)) {
        input.checked = Number(input.value) === answers[current].scores[number];
      }
    });
    all("[data-question]").forEach((field, number) => {
      field.classList.toggle("active", number === active);
      field.classList.toggle("answered", answers[current].scores[number] !== null);
    });
  }

  function showProgress() {
    const done = CASES - openCases().length;
    byId("progress").value = done;
    byId("progress-text").textContent = `${done} of ${CASES} answered`;
  }

  function score(number, value) {
    const scores = answers[current].scores;
    const inRadio = document.activeElement.type === "radio";
    scores[number] = value;
    const open = scores.indexOf(null);
    changed();
    mark(open === -1 ? number : scores[number + 1] === null ? number + 1 : open);
    if (inRadio) focusQuestion(active);
    say(open === -1 ? "All three answered. Enter: next case." : "");
  }

  function focusQuestion(number) {
    const inputs = all(`input[name="${study.questions[number].name}"]`);
    (inputs.find((input) => input.checked) || inputs[0]).focus();
  }

  /** Marks a question: the keys 1 to 5 answer it. Who is asked about the outline must see it. */
  function mark(number) {
    active = number;
    if (number === ADHERENCE && answers[current].scores[number] === null) view.outline = true;
    showAnswers();
    draw();
  }

  function goOn() {
    const missing = answers[current].scores.indexOf(null);
    if (missing !== -1) {
      mark(missing);
      say(`${study.questions[missing].title} is unanswered. N goes on and leaves the case open.`);
      return;
    }
    const open = openCases();
    if (open.length === 0) openOverview();
    else if (current + 1 < CASES) showCase(current + 1);
    else showCase(open[0]);
  }

  function nextOpen() {
    const open = openCases();
    if (open.length) showCase(open.find((place) => place > current) ?? open[0]);
    else openOverview();
  }

  const say = (text) => {
    byId("message").textContent = text;
  };

  // ---- Files ----------------------------------------------------------------------------------------------------

  const cell = (value) => (/[",;\r\n\t]/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value));

  function csv() {
    const rows = answers.map((answer, place) => [
      reader, study.study, place + 1, ...answer.scores.map((value) => value ?? ""), answer.comment,
      answer.seconds.toFixed(1), answer.time,
    ]);
    // With a byte order mark, or a spreadsheet takes UTF-8 for something else.
    return "\ufeff" + [COLUMNS, ...rows].map((row) => row.map(cell).join(",") + "\r\n").join("");
  }

  function save() {
    tick();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv;charset=utf-8" }));
    link.download = `${study.study}_${reader.replace(/[^\p{L}\p{N}-]+/gu, "-")}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    savedToFile = true;
    keep();
    say(`Saved as ${link.download}`);
    showOverview();
  }

  /** Rows of cells; a spreadsheet may have put semicolons or tabs for the commas. */
  function parse(text) {
    const body = text.replace(/^\ufeff/, "");
    const separator = [";", "\t"].find((mark) => body.startsWith("reader" + mark)) || ",";
    const rows = [[""]];
    let quoted = false;
    for (let place = 0; place < body.length; place++) {
      const letter = body[place];
      const row = rows[rows.length - 1];
      if (quoted && letter === '"' && body[place + 1] === '"') row[row.length - 1] += body[++place];
      else if (letter === '"') quoted = !quoted;
      else if (!quoted && letter === separator) row.push("");
      else if (!quoted && letter === "\n") rows.push([""]);
      else if (quoted || letter !== "\r") row[row.length - 1] += letter;
    }
    return rows.filter((row) => row.length > 1);
  }

  /** Takes a saved file in; of a case that is there twice the later answer stays. */
  function takeIn(text) {
    const [head, ...rows] = parse(text);
    if (!head || COLUMNS.some((column) => !head.includes(column))) throw new Error("This is no file of saved answers.");
    const value = (row, column) => row[head.indexOf(column)] ?? "";
    if (rows.some((row) => value(row, "study") !== study.study)) throw new Error("These answers belong to another study.");
    const names = [...new Set(rows.map((row) => value(row, "reader")))];
    if (names.length !== 1) throw new Error("This file holds answers of more than one reader, or of none.");
    const before = kept(names[0]);
    const merged = before?.answers ?? Array.from({ length: CASES }, emptyAnswer);
    for (const row of rows) {
      const place = Number(value(row, "case")) - 1;
      if (!merged[place]) throw new Error(`This file names a case that is not here: ${value(row, "case")}.`);
      const scores = study.questions.map((question) => Number(value(row, question.name)) || null);
      if (scores.some((score) => score !== null && ![1, 2, 3, 4, 5].includes(score))) {
        throw new Error(`Case ${place + 1} has a score that is not 1 to 5.`);
      }
      const read = {
        scores,
        comment: value(row, "comment"),
        seconds: Number(value(row, "seconds")) || 0,
        time: value(row, "time"),
      };
      if (read.time >= merged[place].time) merged[place] = read;
    }
    answers = merged;
    savedToFile = before?.savedToFile ?? true;
    begin(names[0], openCases()[0] ?? 0);
  }

  // ---- Dialogs --------------------------------------------------------------------------------------------------

  function openDialog(id) {
    tick();
    if (!byId(id).open) byId(id).showModal();
    tick();
  }

  function openStart() {
    const row = byId("earlier").querySelector(".row");
    const names = keptReaders().filter(kept);
    row.replaceChildren(
      ...names.map((name) => {
        const done = kept(name).answers.filter(isComplete).length;
        const button = Object.assign(document.createElement("button"), { type: "button", className: "main" });
        button.textContent = `${name} (${done} of ${CASES})`;
        button.addEventListener("click", () => start(name));
        return button;
      })
    );
    byId("earlier").hidden = names.length === 0;
    byId("start-message").textContent = "";
    openDialog("start");
    (row.querySelector("button") || byId("reader")).focus();
  }

  function start(name) {
    const found = kept(name);
    answers = found ? found.answers : Array.from({ length: CASES }, emptyAnswer);
    savedToFile = found ? found.savedToFile : true;
    begin(name, found ? found.current : 0);
  }

  function begin(name, place) {
    since = null;
    reader = name;
    byId("reader-shown").textContent = name;
    all("dialog[open]").forEach((dialog) => dialog.close());
    document.activeElement.blur();
    showCase(place);
  }

  function showOverview() {
    const open = openCases();
    byId("overview-text").textContent = open.length
      ? `Unanswered or partly answered: ${open.map((place) => place + 1).join(", ")}.`
      : savedToFile
        ? "All cases are answered and saved. Send the file to whoever gave you this page. Thank you."
        : "All cases are answered. Save your answers, and send the file to whoever gave you this page.";
    byId("next-open").hidden = open.length === 0;
    byId("save-again").classList.toggle("main", open.length === 0);
    byId("overview-cases").replaceChildren(
      ...answers.map((answer, place) => {
        const state = isComplete(answer) ? "answered" : isStarted(answer) ? "partly answered" : "unanswered";
        const button = Object.assign(document.createElement("button"), { type: "button" });
        button.textContent = `${place + 1}${isComplete(answer) ? " \u2713" : isStarted(answer) ? " \u2026" : ""}`;
        button.className = state.replace(" ", "-");
        button.setAttribute("aria-label", `Case ${place + 1}, ${state}`);
        if (place === current) button.setAttribute("aria-current", "true");
        button.addEventListener("click", () => {
          byId("overview").close();
          showCase(place);
        });
        return button;
      })
    );
  }

  function openOverview() {
    showOverview();
    openDialog("overview");
    byId(openCases().length ? "next-open" : "save-again").focus();
  }

  // ---- Mouse ----------------------------------------------------------------------------------------------------

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
    canvas.addEventListener("dblclick", resetView);
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

  const CLICKS = {
    outline: () => toggle("outline"),
    flip: () => toggle("flip"),
    "zoom-in": () => zoom(1.25),
    "zoom-out": () => zoom(0.8),
    brighter: () => brighten(1),
    darker: () => brighten(-1),
    harder: () => harden(1),
    softer: () => harden(-1),
    reset: resetView,
    previous: () => showCase(current - 1),
    next: goOn,
    save,
    "save-again": save,
    "open-overview": openOverview,
    "open-guide": () => openDialog("guide"),
    "open-file": () => byId("file").click(),
    "change-reader": () => {
      byId("guide").close();
      openStart();
    },
    "next-open": () => {
      byId("overview").close();
      nextOpen();
    },
  };
  for (const [id, action] of Object.entries(CLICKS)) byId(id).addEventListener("click", action);
  for (const button of all("[data-close]")) {
    button.addEventListener("click", () => button.closest("dialog").close());
  }

  // ---- Keys -----------------------------------------------------------------------------------------------------

  const KEYS = {
    q: () => mark((active + 1) % 3),
    c: () => byId("comment").focus(),
    n: () => showCase(current + 1),
    p: () => showCase(current - 1),
    u: nextOpen,
    o: openOverview,
    h: () => openDialog("guide"),
    "?": () => openDialog("guide"),
    m: () => toggle("outline"),
    f: () => toggle("flip"),
    w: () => brighten(1),
    s: () => brighten(-1),
    d: () => harden(1),
    a: () => harden(-1),
    x: resetView,
    "+": () => zoom(1.25),
    "=": () => zoom(1.25),
    "-": () => zoom(0.8),
    arrowleft: () => move(PAN, 0),
    arrowright: () => move(-PAN, 0),
    arrowup: () => move(0, PAN),
    arrowdown: () => move(0, -PAN),
    enter: goOn,
  };

  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    const target = event.target;
    if ((event.ctrlKey || event.metaKey) && key === "s" && reader) {
      event.preventDefault();
      save();
    }
    if (!reader || event.ctrlKey || event.metaKey || event.altKey) return;
    if (byId("overview").open && key === "u") {
      event.preventDefault();
      CLICKS["next-open"]();
    }
    if (document.querySelector("dialog[open]")) return;
    if (target.id === "comment") {
      if (key === "escape") target.blur();
      return;
    }
    const inScale = target.type === "radio" && key.startsWith("arrow");
    const onButton = target.tagName === "BUTTON" && key === "enter";
    const single = key.length === 1 && !byId("shortcuts").checked;
    if (inScale || onButton || single) return;
    const action = /^[1-5]$/.test(key) ? () => score(active, Number(key)) : KEYS[key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // ---- Start ----------------------------------------------------------------------------------------------------

  study.questions.forEach((question, number) => {
    for (const input of all(`input[name="${question.name}"]`)) {
      input.addEventListener("change", () => score(number, Number(input.value)));
      input.addEventListener("focus", () => mark(number));
    }
  });
  byId("comment").addEventListener("input", (event) => {
    answers[current].comment = event.target.value;
    changed();
  });
  byId("start-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const name = byId("reader").value.trim().replace(/\s+/g, " ");
    if (name) start(name);
  });
  byId("start").addEventListener("close", () => reader || openStart());
  document.querySelector(".questions").addEventListener("submit", (event) => event.preventDefault());
  byId("file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    try {
      takeIn(await file.text());
    } catch (fault) {
      byId("start-message").textContent = fault.message;
    }
  });
  for (const dialog of all("dialog")) dialog.addEventListener("close", tick);
  document.addEventListener("visibilitychange", () => {
    tick();
    if (reader) keep();
  });
  window.addEventListener("pagehide", () => {
    tick();
    if (reader) keep();
  });
  window.addEventListener("beforeunload", (event) => {
    if (savedToFile) return;
    event.preventDefault();
    event.returnValue = "";
  });
  new ResizeObserver(draw).observe(panels[0].canvas);
  all(".mark.left").forEach((mark) => (mark.textContent = study.sides[0]));
  all(".mark.right").forEach((mark) => (mark.textContent = study.sides[1]));
  openStart();
})();
