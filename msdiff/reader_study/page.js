"use strict";
// The reader's answers: asking, keeping, saving, opening. No library, no network: all comes from the element `study`.
(() => {
  const COLUMNS = ["reader", "study", "case", "quality", "plausibility", "adherence", "comment", "seconds", "time"];
  const ADHERENCE = 2; // the question about the outline
  const PAN = 40; // pixels for one press of an arrow

  const study = JSON.parse(document.getElementById("study").textContent);
  const CASES = study.cases.length;
  const KEY = `msdiff-reader-study/${study.study}/`;
  const byId = (id) => document.getElementById(id);
  const all = (selector) => [...document.querySelectorAll(selector)];
  const viewer = makeViewer(study);

  // State.

  let reader = "";
  let answers = []; // per case: { scores: [number or null] * 3, comment, seconds, time }
  let current = 0;
  let active = 0; // the marked question
  let savedToFile = true;
  let storageWorks = true;
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

  // Cases and answers.

  function showCase(place) {
    tick();
    current = Math.min(Math.max(place, 0), CASES - 1);
    const answer = answers[current];
    viewer.show(study.cases[current], isComplete(answer));
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
    scores[number] = value;
    const open = scores.indexOf(null);
    changed();
    mark(open === -1 ? number : scores[number + 1] === null ? number + 1 : open);
    say(open === -1 ? "All three answered. Enter: next case." : "");
  }

  function focusQuestion(number) {
    const inputs = all(`input[name="${study.questions[number].name}"]`);
    (inputs.find((input) => input.checked) || inputs[0]).focus();
  }

  /** Marks a question: the keys 1 to 5 answer it. Who is asked about the outline must see it. */
  function mark(number) {
    active = number;
    if (number === ADHERENCE && answers[current].scores[number] === null) viewer.toggle("outline", true);
    showAnswers();
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

  // Files.

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

  // Dialogs.

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

  const CLICKS = {
    outline: () => viewer.toggle("outline"),
    flip: () => viewer.toggle("flip"),
    "zoom-in": () => viewer.zoom(1.25),
    "zoom-out": () => viewer.zoom(0.8),
    brighter: () => viewer.brighten(1),
    darker: () => viewer.brighten(-1),
    harder: () => viewer.harden(1),
    softer: () => viewer.harden(-1),
    reset: viewer.reset,
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

  // Keys.

  const KEYS = {
    q: () => mark((active + 1) % 3),
    c: () => byId("comment").focus(),
    n: () => showCase(current + 1),
    p: () => showCase(current - 1),
    u: nextOpen,
    o: openOverview,
    h: () => openDialog("guide"),
    "?": () => openDialog("guide"),
    m: () => viewer.toggle("outline"),
    f: () => viewer.toggle("flip"),
    w: () => viewer.brighten(1),
    s: () => viewer.brighten(-1),
    d: () => viewer.harden(1),
    a: () => viewer.harden(-1),
    x: viewer.reset,
    "+": () => viewer.zoom(1.25),
    "=": () => viewer.zoom(1.25),
    "-": () => viewer.zoom(0.8),
    arrowleft: () => viewer.move(PAN, 0),
    arrowright: () => viewer.move(-PAN, 0),
    arrowup: () => viewer.move(0, PAN),
    arrowdown: () => viewer.move(0, -PAN),
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
      return;
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
    if (/^[1-5]$/.test(key)) {
      score(active, Number(key));
      // Who tabbed into a scale goes on in the next; arrows inside of one stay there.
      if (target.type === "radio") focusQuestion(active);
    } else if (KEYS[key]) KEYS[key]();
    else return;
    event.preventDefault();
  });

  // Start.

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
  // Another window would write its own state over this one's.
  window.addEventListener("storage", (event) => {
    if (reader && event.key === KEY + reader) say("This study is open in another window too. Close one of the two.");
  });
  byId("unsupported").remove();
  openStart();
})();
