-- The identity of the data: revs are compared within one epoch only.

-- name: current() -> str
-- The epoch in force. It differs in every database and changes after a restore.
SELECT epoch::text FROM messages.epoch

-- name: renew() -> str
-- Begin a new epoch: clients and workers start over.
UPDATE messages.epoch SET epoch = gen_random_uuid() RETURNING epoch::text
