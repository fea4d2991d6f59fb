"""Each service has a database of its own: an SQLite file while you develop, any other that SQLAlchemy knows later.

A saga that waits for days needs an inbox that remembers for days: with the one in memory, whoever restarts a service
forgets what it has done, and has nothing to undo.
"""

import os

from sqlalchemy import MetaData
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from countermand.participants.inboxes.sqlalchemy import create_tables


async def open_database(service: str, metadata: MetaData) -> AsyncEngine:
    """The database that FINANCE_DATABASE or MAIL_DATABASE names, with the service's tables and its inbox's."""
    url = os.environ.get(f"{service.upper()}_DATABASE", f"sqlite+aiosqlite:///{service}.sqlite")
    engine = create_async_engine(url)
    await create_tables(engine)
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    return engine
