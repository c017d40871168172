// Clients of board.js's WebSocket: each asks and waits for the answer, and comes back when it lost its peer.
//   node talkers.js URL COUNT STOPFILE
// Says how many answers there were now and then; ends once STOPFILE is there, with what they saw as JSON.

const crypto = require("crypto");
const fs = require("fs");
const { WebSocket } = require("ws");

const [url, count, stop] = process.argv.slice(2);
const seen = { answered: 0, wrong: 0, lost: 0, refused: 0, peers: {} };
// As people write, and what they send: short texts and files, which go in many frames' worth of segments.
const SIZES = [1, 125, 126, 4000, 65535, 65536, 1 << 20];

function tell(answered) {
    if (answered % 50 === 0) console.log(`answers ${answered}`);
}

function talk(done) {
    const socket = new WebSocket(url);
    let peer, asked;
    let turn = 0;
    const ask = () => {
        asked = crypto.randomBytes(SIZES[turn++ % SIZES.length]);
        socket.send(asked);
        if (turn % 5 == 0) socket.ping();
    };
    socket.on("message", (message, binary) => {
        if (!binary) {
            peer = message.toString();
            seen.peers[peer] = (seen.peers[peer] ?? 0) + 1;
            return ask();
        }
        if (Buffer.compare(message, asked) === 0) tell((seen.answered += 1));
        else seen.wrong += 1;
        if (fs.existsSync(stop)) return socket.close(1000);
        setTimeout(ask, 20);
    });
    socket.on("error", () => {});
    socket.on("close", (code) => {
        if (code === 1000) return done();
        if (peer) seen.lost += 1;
        else seen.refused += 1;
        if (fs.existsSync(stop)) done();
        else talk(done);
    });
}

Promise.all(Array.from({ length: Number(count) }, () => new Promise(talk))).then(() => console.log(JSON.stringify(seen)));
