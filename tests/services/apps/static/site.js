// What a page does with its site: asks, listens, talks. Tells at the end what came of it.

const seen = { asked: 0, failed: 0, peers: {}, events: 0, missed: 0, messages: 0, sockets: 0 };
let over = false;

async function ask() {
    for (let turn = 0; turn < 150; turn++) {
        try {
            const answer = await fetch(`/api/who?turn=${turn}`, { cache: "no-store" });
            const { peer } = await answer.json();
            seen.peers[peer] = (seen.peers[peer] ?? 0) + 1;
            seen.asked += 1;
        } catch {
            seen.failed += 1;
        }
        await new Promise((done) => setTimeout(done, 20));
    }
}

function listen() {
    const source = new EventSource("/events");
    let last = 0;
    source.onmessage = (event) => {
        const id = Number(event.lastEventId);
        if (last && id !== last + 1) seen.missed += 1;
        last = id;
        seen.events += 1;
    };
}

function talk() {
    const socket = new WebSocket(`ws://${location.host}/socket`);
    socket.onopen = () => (seen.sockets += 1);
    socket.onmessage = () => {
        seen.messages += 1;
        if (!over) setTimeout(() => socket.readyState === WebSocket.OPEN && socket.send("and?"), 20);
    };
    socket.onclose = () => over || setTimeout(talk, 20);
}

addEventListener("DOMContentLoaded", async () => {
    listen();
    talk();
    await ask();
    over = true;
    seen.logo = document.getElementById("logo").naturalWidth;
    seen.color = getComputedStyle(document.body).color;
    const report = JSON.stringify(seen);
    document.getElementById("report").textContent = report;
    await fetch("/report", { method: "POST", body: report });
});
