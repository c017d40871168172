// What a site made with Node does: a page, answers for scripts, server-sent events, uploads, WebSocket.
//   node board.js PORT FOLDER
// The processes of one site share FOLDER, as they would share a database.

const crypto = require("crypto");
const fs = require("fs");
const http = require("http");
const path = require("path");
const { WebSocketServer } = require("ws");

const [port, folder] = process.argv.slice(2);
const name = `peer-${port}`;
const TICK = 100;

const routes = {
    "GET /": (_, response) => {
        response.setHeader("Content-Type", "text/html; charset=utf-8");
        response.end(fs.readFileSync(path.join(__dirname, "page.html")));
    },
    "GET /api/who": (_, response) => json(response, { peer: name }),
    "PUT /upload": count,
    "GET /events": events,
    // Answers once the page has told what it saw: a browser loads it as a picture, and so is not done before.
    "GET /barrier": async (_, response) => {
        while (!fs.existsSync(path.join(folder, "report"))) await new Promise((done) => setTimeout(done, 20));
        response.setHeader("Content-Type", "image/svg+xml");
        response.end('<svg xmlns="http://www.w3.org/2000/svg"/>');
    },
    "POST /report": async (request, response) => {
        let text = "";
        for await (const piece of request) text += piece;
        fs.writeFileSync(path.join(folder, "report"), text);
        response.writeHead(204).end();
    },
};

function json(response, value) {
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify(value));
}

// Keeps nothing of what comes: its length and its checksum are the answer.
async function count(request, response) {
    const started = path.join(folder, `upload-${name}`);
    const hash = crypto.createHash("sha256");
    let bytes = 0;
    for await (const piece of request) {
        hash.update(piece);
        bytes += piece.length;
        if (bytes > 1 << 20 && !fs.existsSync(started)) fs.writeFileSync(started, "");
    }
    json(response, { peer: name, bytes, sha256: hash.digest("hex") });
}

// The number of an event is its time, so that every process of the site tells the same story, and who comes
// back gets what it missed.
function events(request, response) {
    response.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
    response.write(`retry: 50\nevent: hello\ndata: ${name}\n\n`);
    let last = Number(request.headers["last-event-id"] ?? Math.floor(Date.now() / TICK) - 1);
    const timer = setInterval(() => {
        while (last < Math.floor(Date.now() / TICK)) {
            last += 1;
            response.write(`id: ${last}\ndata: ${last * TICK}\n\n`);
        }
    }, TICK / 4);
    response.on("close", () => clearInterval(timer));
}

const server = http.createServer(async (request, response) => {
    const route = routes[`${request.method} ${request.url.split("?")[0]}`];
    if (!route) return response.writeHead(404).end("no such page\n");
    try {
        await route(request, response);
    } catch {
        response.destroy();
    }
});
const sockets = new WebSocketServer({ server, path: "/socket", perMessageDeflate: true, maxPayload: 8 << 20 });
sockets.on("connection", (socket) => {
    socket.send(name);
    socket.on("error", () => {});
    socket.on("message", (message, binary) => socket.send(message, { binary }));
});
server.keepAliveTimeout = 30000;
server.listen(Number(port), "127.0.0.1");
