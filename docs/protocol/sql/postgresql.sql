-- The barrier in PostgreSQL. docs/protocol.md, section 8, says which statement runs when.
-- A line "-- [name]" begins a statement; ":name" is a parameter. PostgreSQL 12 or newer.

-- [create_table]
CREATE TABLE IF NOT EXISTS countermand_inbox (
    saga_id        VARCHAR(128) NOT NULL,
    step           VARCHAR(95)  NOT NULL,  -- what follows the slash in the key: ship, ship[17], ship~3
    direction      VARCHAR(4)   NOT NULL,  -- do, undo
    state          VARCHAR(16)  NOT NULL,  -- succeeded, rejected, tombstone; claimed and begun are never committed
    outcome        TEXT,                   -- what was answered, as JSON
    recorded_at_ms BIGINT       NOT NULL,  -- Unix time, by the participant's clock
    PRIMARY KEY (saga_id, step, direction)
);

-- [create_index]
CREATE INDEX IF NOT EXISTS countermand_inbox_recorded_at_ms ON countermand_inbox (recorded_at_ms);

-- [begin]
-- With a stricter isolation, what another transaction has just committed would be an error instead of an answer.
BEGIN ISOLATION LEVEL READ COMMITTED;

-- [claim]
-- Whoever comes second waits here until the first one's transaction has ended.
INSERT INTO countermand_inbox (saga_id, step, direction, state, recorded_at_ms)
VALUES (:saga_id, :step, 'do', 'claimed', :now_ms)
ON CONFLICT (saga_id, step, direction) DO NOTHING;

-- [lock]
-- A statement of its own: the next one must see what was committed while this one waited.
SELECT state FROM countermand_inbox
WHERE saga_id = :saga_id AND step = :step AND direction = 'do'
FOR UPDATE;

-- [verdict_do]
SELECT
    CASE
        WHEN done.state = 'tombstone' OR undone.state = 'succeeded' THEN 'refused_compensated'
        WHEN done.state IN ('succeeded', 'rejected') THEN 'duplicate'
        WHEN undone.state IS NOT NULL THEN 'in_progress'
        WHEN :expired = 1 THEN 'expired'
        ELSE 'proceed'
    END AS verdict,
    done.state AS found,
    done.outcome AS outcome
FROM countermand_inbox AS done
LEFT JOIN countermand_inbox AS undone
    ON undone.saga_id = done.saga_id AND undone.step = done.step AND undone.direction = 'undo'
WHERE done.saga_id = :saga_id AND done.step = :step AND done.direction = 'do';

-- [verdict_undo]
SELECT
    CASE
        WHEN undone.state = 'succeeded' THEN 'duplicate'
        WHEN done.state IN ('claimed', 'tombstone', 'rejected') THEN 'nothing_to_undo'
        ELSE 'proceed'
    END AS verdict,
    done.state AS found,
    CASE WHEN undone.state = 'succeeded' THEN undone.outcome ELSE done.outcome END AS outcome
FROM countermand_inbox AS done
LEFT JOIN countermand_inbox AS undone
    ON undone.saga_id = done.saga_id AND undone.step = done.step AND undone.direction = 'undo'
WHERE done.saga_id = :saga_id AND done.step = :step AND done.direction = 'do';

-- [verdict_probe]
SELECT
    CASE
        WHEN done.state IN ('tombstone', 'rejected') OR undone.state = 'succeeded' THEN 'not_done'
        WHEN done.state = 'succeeded' THEN 'duplicate'
        WHEN undone.state IS NOT NULL THEN 'in_progress'
        WHEN :expired = 1 THEN 'expired'
        ELSE 'proceed'
    END AS verdict,
    done.state AS found,
    done.outcome AS outcome
FROM countermand_inbox AS done
LEFT JOIN countermand_inbox AS undone
    ON undone.saga_id = done.saga_id AND undone.step = done.step AND undone.direction = 'undo'
WHERE done.saga_id = :saga_id AND done.step = :step AND done.direction = 'do';

-- [before_handler]
SAVEPOINT countermand_handler;

-- [undo_handler]
-- After a rejection. The key stays locked.
ROLLBACK TO SAVEPOINT countermand_handler;

-- [bury]
-- For nothing_to_undo, and for a probe that found nothing done: the action may never be done any more.
UPDATE countermand_inbox SET state = 'tombstone'
WHERE saga_id = :saga_id AND step = :step AND direction = 'do' AND state IN ('claimed', 'begun');

-- [record]
-- Keeps the outcome of this direction.
INSERT INTO countermand_inbox (saga_id, step, direction, state, outcome, recorded_at_ms)
VALUES (:saga_id, :step, :direction, :state, :outcome, :now_ms)
ON CONFLICT (saga_id, step, direction) DO UPDATE
SET state = excluded.state, outcome = excluded.outcome, recorded_at_ms = excluded.recorded_at_ms;

-- [touch]
-- Both rows of a key are as old as the younger one: a clean-up takes both or neither.
UPDATE countermand_inbox SET recorded_at_ms = :now_ms WHERE saga_id = :saga_id AND step = :step;

-- [commit]
COMMIT;

-- [rollback]
ROLLBACK;

-- [clean_up]
DELETE FROM countermand_inbox WHERE recorded_at_ms < :before_ms;
