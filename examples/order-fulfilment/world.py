"""The world outside the shop, and what is wrong with it. Which order meets which trouble stands in the order itself.

card `card-stolen-…`      the bank reports it as stolen
card `card-slow-…`        the bank answers the first question later than the saga waits
total ending in 13 cents  the bank is busy when it is first asked, and says so
postcode 97…              the carrier answers the first question later than the saga waits
postcode 99…              the carrier hangs, whenever it is asked, and in the end hangs up
"""

import asyncio

from countermand.participants.errors import Retry

# Beyond the timeout of two seconds, and before the second of grace has passed after which a participant gives up a
# transaction: the money is held, but nobody waits for the answer any more.
SLOW_BANK_S = 2.4
# Beyond the timeout of one second.
SLOW_CARRIER_S = 1.4
# Well beyond it, and over before the saga asks again: otherwise it would be told that an attempt is in progress.
HANGING_CARRIER_S = 2.5


async def bank_says_stolen(card: str, amount_cents: int, attempt: int) -> bool:
    if attempt == 1 and amount_cents % 100 == 13:
        raise Retry(after_s=0.1, code="bank_busy")
    if attempt == 1 and card.startswith("card-slow-"):
        await asyncio.sleep(SLOW_BANK_S)
    return card.startswith("card-stolen-")


async def ask_carrier(postcode: str, attempt: int) -> int:
    if postcode.startswith("99"):
        await asyncio.sleep(HANGING_CARRIER_S)
        raise ConnectionError("the carrier has hung up")
    if postcode.startswith("97") and attempt == 1:
        await asyncio.sleep(SLOW_CARRIER_S)
    return 490 + 10 * int(postcode[1])
