"""An empty table of DynamoDB that accepts some keys only, on a socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager


@asynccontextmanager
async def table_that_accepts(key_ids: Collection[str], code: str) -> AsyncIterator[str]:
    """Serve an empty table that refuses all keys but these with a code. Yield its URL."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.partition(b":")[2]))
                is_accepted = any(f"Credential={key_id}/".encode() in head for key_id in key_ids)
                body = json.dumps({"ConsumedCapacity": {"CapacityUnits": 0.5}} if is_accepted else {"__type": code})
                status = 200 if is_accepted else 400
                writer.write(f"HTTP/1.1 {status} x\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
