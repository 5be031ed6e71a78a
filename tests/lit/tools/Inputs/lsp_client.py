# SPDX-License-Identifier: Apache-2.0
"""lsp_client.py FILE: opens FILE in tpa-lsp-server, prints what the server says of it, and shuts the server down."""
import json
import subprocess
import sys
from pathlib import Path

uri = "file:///input.mlir"
document = {"uri": uri, "languageId": "mlir", "version": 1, "text": Path(sys.argv[1]).read_text()}
messages = [
    {"id": 1, "method": "initialize", "params": {"processId": None, "rootUri": None, "capabilities": {}}},
    {"method": "initialized", "params": {}},
    {"method": "textDocument/didOpen", "params": {"textDocument": document}},
    {"id": 2, "method": "shutdown"},
    {"method": "exit"},
]
request = b""
for message in messages:
    body = json.dumps({"jsonrpc": "2.0", **message}).encode()
    request += b"Content-Length: %d\r\n\r\n" % len(body) + body

process = subprocess.run(["tpa-lsp-server"], input=request, capture_output=True, timeout=60)
answer = process.stdout
while answer:
    header, _, answer = answer.partition(b"\r\n\r\n")
    length = int(header.split(b"Content-Length:")[1].split()[0])
    message, answer = json.loads(answer[:length]), answer[length:]
    if message.get("id") == 1:
        print("server:", message["result"]["serverInfo"]["name"], "hover:", message["result"]["capabilities"]["hoverProvider"])
    elif message.get("method") == "textDocument/publishDiagnostics":
        diagnostics = message["params"]["diagnostics"]
        print("diagnostics:", [diagnostic["message"] for diagnostic in diagnostics])
    elif message.get("id") == 2:
        print("shutdown:", message["result"])
print("exit code:", process.returncode)
