// Clients of board.js's events, as a browser's EventSource is: one whose connection ends comes back and says
// what it had last.
//   node listeners.js URL COUNT MILLISECONDS
// Says when one begins to listen and how much came now and then; ends with what they saw as JSON.

const http = require("http");

const [url, count, time] = process.argv.slice(2);
const end = Date.now() + Number(time);
const seen = { events: 0, missed: 0, lost: 0, failed: 0, latest: 0, peers: {} };
const agent = new http.Agent({ keepAlive: false });

function listen(last, done) {
    if (Date.now() >= end) return done();
    const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
    let over = false;
    let connected = 0;
    const again = (figure) => {
        if (over) return;
        over = true;
        if (figure) seen[figure] += 1;
        setTimeout(() => listen(last, done), 50);
    };
    const request = http.get(url, { agent, headers }, (response) => {
        if (response.statusCode !== 200) {
            response.resume();
            return again("failed");
        }
        connected = Date.now();
        let text = "";
        response.on("data", (piece) => {
            text += piece;
            const whole = text.split("\n\n");
            text = whole.pop();
            whole.forEach(take);
            if (Date.now() >= end && !over) {
                over = true;
                request.destroy();
                done();
            }
        });
        response.on("error", () => {});
        response.on("close", () => again("lost"));
    });
    request.on("error", () => again("failed"));

    function take(event) {
        const field = (name) => event.split("\n").find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
        if (field("event") === "hello") {
            console.log("listening");
            seen.peers[field("data")] = (seen.peers[field("data")] ?? 0) + 1;
            return;
        }
        const id = Number(field("id"));
        if (last && id !== last + 1) seen.missed += 1;
        // What was missed comes late, of course: the connection must have been there when it happened.
        if (id * 100 > connected) seen.latest = Math.max(seen.latest, Date.now() - id * 100);
        last = id;
        seen.events += 1;
        if (seen.events % 1000 === 0) console.log(`came ${seen.events}`);
    }
}

Promise.all(Array.from({ length: Number(count) }, () => new Promise((done) => listen(0, done)))).then(() =>
    console.log(JSON.stringify(seen)),
);
