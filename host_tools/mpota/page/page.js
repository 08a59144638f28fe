// The update page. Without this script, the form alone posts the image. docs/SPEC.md: the board's side.
const $ = (id) => document.getElementById(id);
const show = (id, is = true) => ($(id).hidden = !is);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const kb = (n) => (n / 1024).toFixed(1) + " KB";

// What is known of the board; the chosen file, its bytes and its MANIFEST; the form that it was chosen
// in: "" for an application, "2" for data.
let board = {};
let chosen = null;
let form = "";
// Whether an update is running; it then shows its own messages.
let busy = false;

function say(text, kind = "") {
  $("say").textContent = text;
  $("say").className = kind;
}

// Send a request to the board, and give up after 4 s: a board that restarts does not answer.
async function ask(path, method = "GET") {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), 4000);
  try {
    const answer = await fetch("/update" + path, {
      method,
      cache: "no-store",
      headers: { Accept: "application/json" },
      signal: stop.signal,
    });
    // An answer that breaks off counts as none; what refuses may have no body.
    const said = await (answer.ok ? answer.json() : answer.json().catch(() => ({})));
    return { status: answer.status, said };
  } catch {
    return { status: 0, said: {} };
  } finally {
    clearTimeout(timer);
  }
}

const STATES = {
  idle: "runs",
  healthy: "runs, healthy",
  trial: "on trial",
  services: "update services only, without the application",
  safe: "safe mode: the application never became healthy and is left out for now",
  alone: "waits for the update that needs its memory",
  updating: "takes an update",
};

function time(s) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"]];
  for (const [size, unit] of parts) {
    if (s >= size) return (s / size).toFixed(s < 10 * size ? 1 : 0) + " " + unit;
  }
  return s + " s";
}

// Ask for the status and show it; return whether the board has answered.
async function refresh() {
  const { status, said } = await ask("/status");
  if (status !== 200) return false;
  board = said;
  if (said.state === "updating") return true;
  const [state, left] = said.state.split(" ");
  const name = said.name || said.hostname;
  const facts = {
    Version: said.version ? `${said.version}, sequence ${said.sequence}` : "none",
    State: STATES[state] + (left ? `, ${left} s left` : ""),
    Slot: `${said.slot}, ${kb(said.space)} for an image`,
    ...(said.data && { "/data": `from the image ${said.data}…` }),
    "Last update": said.outcome || "none is known",
    ...("pull" in said && { Server: said.pull || "not asked yet" }),
    Memory: kb(said.heap) + " free",
    Firmware: "MicroPython " + said.firmware,
    "On for": time(said.uptime),
    Address: `${said.hostname}, ${said.address}`,
  };
  document.title = $("title").textContent = name + ": update";
  $("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([key, value]) => {
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = key;
      dd.textContent = value;
      return [dt, dd];
    }),
  );
  const onTrial = state === "trial";
  show("open", said.open);
  show("act");
  show("confirm", onTrial);
  show("reject", onTrial);
  show("revert", Boolean(said.before) && !onTrial);
  $("revert").textContent = `Back to version ${said.before}`;
  judge();
  return true;
}

// SHA-256 (FIPS 180-4): browsers have crypto.subtle only for https.
function sha256(data) {
  const root = (p, n) => (Math.pow(p, 1 / n) % 1) * 2 ** 32 | 0;
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((p) => n % p)) primes.push(n);
  const k = primes.map((p) => root(p, 3));
  const hash = primes.slice(0, 8).map((p) => root(p, 2));
  const size = data.length;
  const padded = new Uint8Array((size + 72) & ~63);
  padded.set(data);
  padded[size] = 128;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 4, size << 3);
  const turn = (x, n) => (x >>> n) | (x << (32 - n));
  const w = new Int32Array(64);
  for (let at = 0; at < padded.length; at += 64) {
    let [a, b, c, d, e, f, g, h] = hash;
    for (let i = 0; i < 64; i++) {
      if (i < 16) w[i] = view.getInt32(at + 4 * i);
      else {
        const x = w[i - 15];
        const y = w[i - 2];
        w[i] = w[i - 16] + w[i - 7] + (turn(x, 7) ^ turn(x, 18) ^ (x >>> 3)) + (turn(y, 17) ^ turn(y, 19) ^ (y >>> 10));
      }
      const s = h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
      const t = (turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      [h, g, f, e, d, c, b, a] = [g, f, e, (d + s) | 0, c, b, a, (s + t) | 0];
    }
    [a, b, c, d, e, f, g, h].forEach((x, i) => (hash[i] = (hash[i] + x) | 0));
  }
  return hash.map((x) => (x >>> 0).toString(16).padStart(8, "0")).join("");
}

// Return the fields of MANIFEST, the first file of the ROMFS in *data*; null if it is not a ROMFS.
function manifest(data) {
  if (data[0] !== 0xd2 || data[1] !== 0xcd || data[2] !== 0x31) return null;
  let at = 3;
  const number = () => {
    let n = 0;
    while (at < data.length) {
      n = n * 128 + (data[at] & 127);
      if (data[at++] < 128) break;
    }
    return n;
  };
  const text = (size) => new TextDecoder().decode(data.slice(at, (at += size)));
  number();
  number();
  number();
  if (text(number()) !== "MANIFEST") return null;
  number();
  const lines = text(number()).split("\n").map((line) => line.split(" "));
  return Object.fromEntries(lines.filter((words) => words.length === 2));
}

// Say what the chosen file is, and whether the board can take it.
function judge() {
  if (!chosen) return;
  $("go" + form).disabled = true;
  if (busy) return;
  const { name, size, data, image } = chosen;
  const at = (place, text) => String.fromCharCode(...data.slice(place, place + text.length)) === text;
  const isGzip = at(0, "\x1f\x8b");
  const kind = at(257, "ustar") ? "a tar" : at(8, "littlefs") ? "a littlefs" : "";
  let text = `${name}, ${size} bytes`;
  let isGood = false;
  if (!size) text += ": the file is empty.";
  else if (form) {
    isGood = Boolean(kind || isGzip);
    if (isGood) text += `: ${kind || "a gzip"}. It replaces all files in /data.`;
    else {
      const what = { PK: "a zip", "\x01\x80": "SPIFFS" }[String.fromCharCode(...data.slice(0, 2))];
      text += `: ${image ? "an application" : at(510, "\x55\xaa") ? "FAT" : what || "not a data image"}.`;
      text += " /data takes a tar or a littlefs; 'mpota mkdata' makes one.";
    }
    if (board.data && sha256(data).startsWith(board.data)) text += " These files are there already.";
  } else if (image) {
    text = `${image.name} ${image.version}, sequence ${image.sequence}, ${size} bytes`;
    const now = Number(board.sequence);
    if (size > board.space) text += `: too large, a slot takes ${board.space} bytes. Larger things belong into /data.`;
    else if (image.board && image.board !== "esp8266") text += `: for another board, ${image.board}.`;
    else {
      isGood = true;
      text += ", fits.";
      if (board.name && image.name !== board.name) text += ` The board runs another application, ${board.name}.`;
      else if (image.sequence < now) text += ` Older than what runs, sequence ${now}.`;
      else if (image.sequence == now) text += " This release runs already.";
    }
  } else if (isGzip) {
    isGood = size <= board.space;
    text += isGood ? ": a gzip, which the board unpacks." : ": too large.";
  } else if (kind) text += `: ${kind}, files for /data. Choose it below.`;
  else if (data[0] === 0xe9) text += ": firmware or an Arduino sketch, not an application image.";
  else text += ": not an application image; 'mpota pack' makes one.";
  const onTrial = /^trial/.test(board.state);
  if (isGood && onTrial) text += " First keep the version on trial, or take it back.";
  $("what" + form).textContent = text;
  $("what" + form).className = isGood ? "" : "bad";
  $("go" + form).disabled = !isGood || onTrial;
}

async function choose(file, to) {
  if (!file || busy) return;
  // A larger file fits into no slot, or into no flash: its beginning tells what it is.
  const part = file.size > 2 ** (to ? 24 : 20) ? file.slice(0, 1024) : file;
  const data = new Uint8Array(await part.arrayBuffer());
  if (to !== form) reset();
  form = to;
  chosen = { name: file.name, size: file.size, data, image: manifest(data) };
  $("go" + form).textContent = LABELS[form];
  say("");
  judge();
}

// Forget the chosen file.
function reset() {
  chosen = null;
  $("form" + form).reset();
  $("what" + form).textContent = "";
  $("go" + form).disabled = true;
}

// Send the image; return the status, the text, and after how many seconds to try again.
function send(onSent) {
  return new Promise((done) => {
    const request = new XMLHttpRequest();
    request.open("POST", `/update?sha256=${sha256(chosen.data)}${form && "&data"}`);
    request.setRequestHeader("Accept", "application/json");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.responseType = "json";
    request.upload.onprogress = (e) => onSent(e.loaded);
    request.onloadend = () =>
      done({
        status: request.status,
        text: (request.response || {}).text || "",
        again: Number(request.getResponseHeader("Retry-After")),
      });
    request.send(chosen.data);
  });
}

// Show the progress. The browser's own count is ahead of the board's, by the bytes on their way.
function progress(done, begun) {
  const seconds = (Date.now() - begun) / 1000;
  $("bar").value = done / chosen.size;
  $("speed").textContent = `${kb(done)} of ${kb(chosen.size)}, ${kb(done / Math.max(seconds, 0.1))}/s`;
}

// Send the image once; return false to try again. *before* is the board's status before the update.
async function update(before) {
  const begun = Date.now();
  let sent = 0;
  let ended = false;
  say("Sending …");
  show("run");
  progress(0, begun);
  const sending = send((loaded) => (sent = loaded));
  sending.then(() => (ended = true));
  let counts = false;
  while (!ended) {
    await Promise.race([sending, wait(400)]);
    if (ended) break;
    const { status, said } = await ask("/status");
    if (status === 200 && said.done !== undefined) {
      counts = true;
      if (!ended) progress(said.done, begun);
    } else if (!counts) progress(sent, begun);
    if (status === 200 && said.done === said.size) say("Verifying …");
  }
  const { status, text, again } = await sending;
  if (status === 200) {
    progress(chosen.size, begun);
    if (/Rebooting/.test(text)) await follow(before);
    else say(text, "good");
  } else if (status === 503 && again) {
    say(text.replace("Update error: ", "") || "The board is busy.");
    await wait(again * 1000);
    for (let i = 0; i < 30 && !(await refresh()); i++) await wait(1000);
    return false;
  } else if (status === 0) {
    const end = sent < chosen.size ? "keeps the version that it has" : "has not said how the update ended: see above";
    say(`The connection was lost. The board ${end}.`, "bad");
  } else if (status === 401) say("The password is wrong.", "bad");
  else say("Refused: " + text.replace("Update error: ", ""), "bad");
  return true;
}

// Follow the new version, or the new data, until they are confirmed or taken back.
async function follow(before) {
  show("run", false);
  // Only the board knows what is in a gzip, or in a data image.
  const { version } = chosen.image || { version: chosen.name };
  const from = before.version && !form ? `${before.version} → ${version}` : version;
  say(`${from}: verified. The board restarts …`);
  const begun = Date.now();
  let last = begun;
  for (;;) {
    await wait(1000);
    if (!(await refresh())) {
      if (Date.now() > Math.max(begun + 180000, last + 120000)) {
        return say("The board does not come back to this page. Is the page on in the new version?", "bad");
      }
      continue;
    }
    last = Date.now();
    // A board that has been on for longer than this has not restarted yet.
    if (board.state === "updating" || board.uptime > (last - begun) / 1000) continue;
    if (/^trial/.test(board.state)) say(`${from}: on trial. It is confirmed when it has been healthy for a while.`);
    else if (/^confirmed/.test(board.outcome)) {
      reset();
      return say(`${from}: confirmed.`, "good");
    } else {
      return say(`${version} did not stay: ${board.outcome}. ${board.version || "No version"} runs.`, "bad");
    }
  }
}

const LABELS = { "": "Update", 2: "Replace the files" };
for (const to in LABELS) {
  $("form" + to).onsubmit = async (e) => {
    e.preventDefault();
    if (busy || !chosen) return;
    busy = true;
    judge();
    const before = board;
    for (let tries = 0; tries < 5 && !(await update(before)); tries++);
    busy = false;
    show("run", false);
    if (chosen) $("go" + to).textContent = "Try again";
    judge();
  };
  $("file" + to).onchange = () => choose($("file" + to).files[0], to);
  $("go" + to).disabled = true;
}
// A file that is dropped elsewhere on the page is for the first form.
const over = (e) => (e.target.closest("#form2") ? "2" : "");
document.ondragover = (e) => {
  e.preventDefault();
  $("drop" + over(e)).className = "over";
};
document.ondragleave = (e) => ($("drop" + over(e)).className = "");
document.ondrop = (e) => {
  e.preventDefault();
  const to = over(e);
  $("drop" + to).className = "";
  if (busy) return;
  $("file" + to).files = e.dataTransfer.files;
  choose(e.dataTransfer.files[0], to);
};

const SURE = {
  reject: "Take this version back, and restart with the previous one?",
  revert: "Restart with the previous version?",
  restart: "Restart the board?",
};
for (const action of ["confirm", "reject", "revert", "restart"]) {
  $(action).onclick = async () => {
    if (SURE[action] && !confirm(SURE[action])) return;
    const { status, said } = await ask("/" + action, "POST");
    if (status) say(said.text || "", status < 300 ? "good" : "bad");
    if (!busy) poll(1000);
  };
}

// The status is asked for again and again while the page is visible, more often during a trial.
let timer = 0;
function poll(ms) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (!busy && !document.hidden && !(await refresh())) say("The board does not answer.", "bad");
    else if (!busy && $("say").textContent === "The board does not answer.") say("");
    poll(/^trial/.test(board.state) ? 2000 : 10000);
  }, ms);
}

show("or");
poll(0);
