"""What people run in place of a hub, to compare with: they post four events of each call and store nothing.

python bench/rig/scripts.py <AMI port> <receiver>   is the script of 30 lines, with panoramisk and requests.
"""

import asyncio
import shutil
import sys
from pathlib import Path

SCRIPT = "script of 30 lines"
STAGES = {"Newchannel": "before", "DialBegin": "forward", "DialEnd": "pickup", "Hangup": "after"}
NODE = """
const [port, target] = process.argv.slice(2), http = require('http'), agent = new http.Agent({keepAlive: true});
const stages = {Newchannel: 'before', DialBegin: 'forward', DialEnd: 'pickup', Hangup: 'after'};
const pbx = require('net').connect(port, '127.0.0.1'), done = new Set();
pbx.write('Action: Login\\r\\nUsername: hub\\r\\nSecret: hubsecret\\r\\n\\r\\n');
let rest = '';
pbx.on('data', (data) => {
  const blocks = (rest + data).split('\\r\\n\\r\\n');
  rest = blocks.pop();
  for (const block of blocks) {
    const event = Object.fromEntries(block.split('\\r\\n').map((line) => line.split(': ')));
    const stage = stages[event.Event];
    if (!stage || (stage === 'after' && event.Uniqueid !== event.Linkedid)) continue;
    const moment = `${event.Linkedid || event.DestLinkedid} incoming.${stage}`;
    if (done.has(moment)) continue;
    done.add(moment);
    const body = JSON.stringify({event: stage, call_id: event.Linkedid, caller: event.CallerIDNum, dst: event.Exten});
    const headers = {'content-type': 'application/json', 'content-length': Buffer.byteLength(body), moment};
    http.request(target, {method: 'POST', agent, headers}, (answer) => answer.resume()).end(body);
  }
});
"""


def commands(port: int, url: str, folder: Path) -> dict[str, list[str]]:
    """The command of each that this machine can run, by what it is."""
    found = {SCRIPT: [sys.executable, __file__, str(port), url]}
    if node := shutil.which("node"):
        script = folder / "hook.js"
        script.write_text(NODE)
        found["Node.js script"] = [node, str(script), str(port), url]
    return found


async def main(port: int, url: str) -> None:
    import requests
    from panoramisk import Manager

    manager, done = Manager(host="127.0.0.1", port=port, username="hub", secret="hubsecret"), set()

    def post(_manager: Manager, event: object) -> None:
        stage = STAGES[event.Event]  # type: ignore[attr-defined]
        linkedid = event.Linkedid or event.DestLinkedid  # type: ignore[attr-defined]
        moment = f"{linkedid} incoming.{stage}"
        if moment in done or (stage == "after" and event.Uniqueid != linkedid):  # type: ignore[attr-defined]
            return
        done.add(moment)
        body = {"event": stage, "call_id": linkedid, "caller": event.CallerIDNum, "dst": event.Exten}  # type: ignore[attr-defined]
        requests.post(url, json=body, headers={"moment": moment}, timeout=10)

    for name in STAGES:
        manager.register_event(name, post)
    await manager.connect()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2]))
