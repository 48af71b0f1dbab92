-- Messages: the write path, changes, history.

-- function: messages.enter
-- Lock a conversation's head and return the membership of `viewer`, or NULL for strangers, who never get as far as the
-- lock. Every change begins here. A plpgsql function takes a new snapshot for each of its statements, so what was
-- committed while we waited for the lock counts.
CREATE OR REPLACE FUNCTION messages.enter(conversation UUID, viewer UUID) RETURNS messages.members LANGUAGE plpgsql AS $$
DECLARE
    me messages.members;
BEGIN
    PERFORM FROM messages.heads h
    WHERE h.conversation_id = conversation
      AND EXISTS (SELECT FROM messages.members m
                  WHERE m.conversation_id = conversation AND m.user_id = viewer AND m.left_seq IS NULL)
    FOR NO KEY UPDATE;
    SELECT m.* INTO me
    FROM messages.members m
    JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    JOIN auth.users u ON u.id = m.user_id AND u.deleted_at IS NULL
    WHERE m.conversation_id = conversation AND m.user_id = viewer AND m.left_seq IS NULL;
    RETURN me;
END
$$;

-- function: messages.send
-- Write a batch of messages and return one row for each, in the order of the input. Ids are not repeated within a batch.
-- Outcomes: `ok` (stored now, or before: then `is_new` is false), `id_conflict`, `not_found`, `forbidden`, `blocking` (the
-- sender has blocked the other one), `gone` (the other one of a direct conversation has no account any more), `bad_reply`,
-- and `busy`: the head is locked by somebody else, try again.
-- A direct message to one who has blocked the sender is stored and answered like any other, and withheld from that one.
-- `mentions` are array literals, as unnest takes arrays of arrays apart; who is no member is left out.
-- Two statements, two snapshots: the second sees what was committed before the heads were locked.
-- A reply to an earlier row of the batch stands and falls with it, hence the recursion.
CREATE OR REPLACE FUNCTION messages.send(
    ids UUID[], conversations UUID[], senders UUID[], contents TEXT[], replies UUID[], types TEXT[], metadatas JSONB[],
    forwards UUID[], mentions TEXT[], tracked_members INT, wait BOOLEAN)
RETURNS TABLE (n BIGINT, outcome TEXT, is_new BOOLEAN, seq BIGINT, rev BIGINT, created_at TIMESTAMP, untold BOOLEAN,
               withheld_from UUID, mentioned UUID[])
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    locked UUID[];
    wanted UUID[] = ARRAY(
        SELECT DISTINCT m.conversation_id
        FROM unnest(conversations, senders) i(conversation, sender)
        JOIN messages.members m ON m.conversation_id = i.conversation AND m.user_id = i.sender AND m.left_seq IS NULL);
BEGIN
    IF wait THEN
        locked = ARRAY(SELECT conversation_id FROM messages.heads WHERE conversation_id = ANY (wanted)
                       ORDER BY conversation_id FOR NO KEY UPDATE);
    ELSE
        locked = ARRAY(SELECT conversation_id FROM messages.heads WHERE conversation_id = ANY (wanted)
                       ORDER BY conversation_id FOR NO KEY UPDATE SKIP LOCKED);
    END IF;

    RETURN QUERY
    WITH RECURSIVE input AS MATERIALIZED (
        SELECT i.*, m.role, m.silenced, m.joined_seq, c.type, p.user_id AS peer, p.deleted_at IS NOT NULL AS is_gone,
               EXISTS (SELECT FROM users.blocked_users b WHERE b.user_id = i.sender AND b.blocked_user_id = p.user_id) AS blocks,
               EXISTS (SELECT FROM users.blocked_users b WHERE b.user_id = p.user_id AND b.blocked_user_id = i.sender) AS is_blocked
        FROM unnest(ids, conversations, senders, contents, replies, types, metadatas, forwards, mentions) WITH ORDINALITY
             AS i(id, conversation, sender, content, reply_to, message_type, metadata, forwarded_from, mention_list, n)
        LEFT JOIN messages.members m
               ON m.conversation_id = i.conversation AND m.user_id = i.sender AND m.left_seq IS NULL
        LEFT JOIN auth.users u ON u.id = m.user_id AND u.deleted_at IS NULL
        LEFT JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL AND u.id IS NOT NULL
        LEFT JOIN LATERAL (  -- a subquery, so that the members of a large channel are not looked through for nothing
            SELECT o.user_id, a.deleted_at FROM messages.members o JOIN auth.users a ON a.id = o.user_id
            WHERE c.type = 'direct' AND o.conversation_id = c.id AND o.user_id <> i.sender AND o.left_seq IS NULL
            LIMIT 1
        ) p ON TRUE
    ), judged AS MATERIALIZED (
        SELECT i.*, k.seq AS known_seq, k.created_at AS known_at,
               CASE
                   WHEN k.id IS NOT NULL THEN
                       CASE WHEN (k.conversation_id, k.from_user_id) = (i.conversation, i.sender) THEN 'known' ELSE 'id_conflict' END
                   WHEN i.type IS NULL THEN 'not_found'
                   WHEN i.is_gone THEN 'gone'
                   WHEN i.silenced THEN 'silenced'
                   WHEN i.role = 'reader' THEN 'admins_only'
                   WHEN i.blocks THEN 'blocking'
                   WHEN i.conversation <> ALL (locked) THEN 'busy'
                   WHEN i.reply_to IS NOT NULL
                        AND NOT EXISTS (SELECT FROM messages.messages r
                                        WHERE r.id = i.reply_to AND r.conversation_id = i.conversation AND r.seq > i.joined_seq)
                       THEN 'bad_reply'
                   ELSE 'new'
               END AS verdict
        FROM input i
        LEFT JOIN LATERAL (
            SELECT id, conversation_id, from_user_id, seq, created_at FROM messages.messages WHERE id = i.id
            UNION ALL
            SELECT message_id, conversation_id, from_user_id, seq, created_at FROM messages.erased WHERE message_id = i.id
        ) k ON TRUE
    ), accepted AS (
        SELECT * FROM judged WHERE verdict = 'new'
        UNION ALL
        SELECT j.* FROM accepted a JOIN judged j ON j.reply_to = a.id AND j.conversation = a.conversation AND j.n > a.n
        WHERE j.verdict = 'bad_reply'
    ), bumped AS (
        UPDATE messages.heads h SET last_seq = h.last_seq + b.n, last_rev = h.last_rev + b.n
        FROM (SELECT conversation, count(*) AS n FROM accepted GROUP BY conversation) b
        WHERE h.conversation_id = b.conversation
        RETURNING h.conversation_id, h.last_seq - b.n AS seq, h.last_rev - b.n AS rev, h.member_count
    ), numbered AS (
        SELECT j.*, b.member_count,
               b.seq + row_number() OVER w AS seq,
               b.rev + row_number() OVER w AS rev,
               CASE WHEN j.is_blocked THEN j.peer END AS withheld_from,
               CASE WHEN j.mention_list IS NOT NULL THEN nullif(ARRAY(
                   SELECT m.user_id FROM messages.members m
                   WHERE m.conversation_id = j.conversation AND m.left_seq IS NULL AND m.user_id = ANY (j.mention_list::uuid[])
                   ORDER BY m.user_id), '{}') END AS mentioned
        FROM accepted j JOIN bumped b ON b.conversation_id = j.conversation
        WINDOW w AS (PARTITION BY j.conversation ORDER BY j.n)
    ), stored AS (
        INSERT INTO messages.messages
            (id, conversation_id, from_user_id, to_user_id, content, reply_to_id, seq, rev, type, metadata, forwarded_from_id,
             mentions, withheld_from)
        SELECT x.id, x.conversation, x.sender, CASE WHEN x.type = 'direct' THEN coalesce(x.peer, x.sender) END,
               x.content, x.reply_to, x.seq, x.rev, x.message_type, coalesce(x.metadata, '{}'), x.forwarded_from,
               x.mentioned, x.withheld_from
        FROM numbered x
        RETURNING id, created_at
    ), threaded AS (
        INSERT INTO messages.threads (parent_message_id, reply_message_id)
        SELECT x.reply_to, x.id FROM numbered x WHERE x.reply_to IS NOT NULL
    ), tracked AS (
        INSERT INTO messages.delivery_tracking (message_id, user_id)
        SELECT x.id, m.user_id
        FROM numbered x
        JOIN messages.members m ON m.conversation_id = x.conversation AND m.left_seq IS NULL AND m.user_id <> x.sender
        WHERE x.type <> 'channel' AND x.member_count <= tracked_members
    ), told AS (
        -- Not waiting for a conversation row that another service holds: it may be waiting for our head.
        UPDATE messages.conversations c SET last_message_id = l.id, last_message_at = l.created_at
        FROM (SELECT DISTINCT ON (x.conversation) x.conversation, x.id, s.created_at, x.member_count
              FROM numbered x JOIN stored s ON s.id = x.id ORDER BY x.conversation, x.seq DESC) l
        WHERE c.id = l.conversation
          AND c.id IN (SELECT f.id FROM messages.conversations f JOIN bumped b ON b.conversation_id = f.id
                       WHERE b.member_count <= 100 OR f.last_message_at IS NULL
                          OR f.last_message_at < CURRENT_TIMESTAMP - INTERVAL '1 second'
                       FOR NO KEY UPDATE OF f SKIP LOCKED)
        RETURNING c.id
    )
    SELECT j.n, CASE WHEN x.n IS NOT NULL OR j.verdict = 'known' THEN 'ok' ELSE j.verdict END, x.n IS NOT NULL,
           CASE j.verdict WHEN 'known' THEN j.known_seq ELSE x.seq END, x.rev,
           CASE j.verdict WHEN 'known' THEN j.known_at ELSE s.created_at END,
           x.n IS NOT NULL AND j.conversation NOT IN (SELECT id FROM told), x.withheld_from, x.mentioned
    FROM judged j
    LEFT JOIN numbered x ON x.n = j.n
    LEFT JOIN stored s ON s.id = j.id
    ORDER BY j.n;
END
$$;

-- function: messages.rewrite
-- Change what a message says, within `window_s` seconds of when it was sent (0: for ever). What it said before is kept by a
-- trigger. A copy of another message, and what has no caption, stays as it is.
CREATE OR REPLACE FUNCTION messages.rewrite(
    conversation UUID, message UUID, editor UUID, new_content TEXT, window_s FLOAT8,
    OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, editor);
    old messages.messages;
BEGIN
    SELECT * INTO old FROM messages.messages m
    WHERE m.id = message AND m.conversation_id = conversation AND m.seq > me.joined_seq AND m.deleted IS NOT TRUE;
    outcome = CASE
        WHEN old.id IS NULL THEN 'not_found'
        WHEN old.from_user_id <> editor THEN 'not_yours'
        WHEN me.silenced THEN 'silenced'
        WHEN old.forwarded_from_id IS NOT NULL OR old.type IN ('location', 'contact', 'sticker', 'poll') THEN 'fixed'
        WHEN new_content = '' AND old.type = 'text' THEN 'empty'
        WHEN new_content = old.content THEN 'ok'
        WHEN window_s > 0 AND old.created_at < CURRENT_TIMESTAMP - make_interval(secs => window_s) THEN 'too_late'
        ELSE 'ok'
    END;
    IF outcome = 'ok' THEN
        UPDATE messages.messages m
        SET content = new_content, edited = TRUE,
            metadata = CASE WHEN jsonb_typeof(m.metadata) = 'object' AND m.metadata ? 'caption'
                            THEN m.metadata || jsonb_build_object('caption', new_content) ELSE m.metadata END,
            withheld_from = coalesce(m.withheld_from, (
                SELECT b.user_id FROM users.blocked_users b WHERE b.user_id = m.to_user_id AND b.blocked_user_id = editor))
        WHERE m.id = message AND m.content <> new_content;
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- function: messages.remove
CREATE OR REPLACE FUNCTION messages.remove(
    conversation UUID, message UUID, remover UUID, OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, remover);
    old messages.messages;
    may_moderate BOOLEAN = me.role = 'admin' AND EXISTS (
        SELECT FROM messages.conversations WHERE id = conversation AND type <> 'direct');
BEGIN
    SELECT * INTO old FROM messages.messages m
    WHERE m.id = message AND m.conversation_id = conversation AND m.seq > me.joined_seq;
    outcome = CASE
        WHEN old.id IS NULL THEN 'not_found'
        WHEN old.from_user_id = remover OR may_moderate THEN 'ok'
        ELSE 'not_yours'
    END;
    IF outcome = 'ok' THEN
        PERFORM messages.make_tombstones(ARRAY[message]);
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- function: messages.make_tombstones
-- Leave nothing of what these messages were; their heads are locked.
CREATE OR REPLACE FUNCTION messages.make_tombstones(ids UUID[]) RETURNS VOID LANGUAGE sql AS $$
    UPDATE messages.messages
    SET content = '', metadata = '{}', forwarded_from_id = NULL, mentions = NULL, pinned_at = NULL, pinned_by = NULL,
        deleted = TRUE, deleted_at = CURRENT_TIMESTAMP
    WHERE id = ANY (ids) AND deleted IS NOT TRUE
$$;

-- function: messages.react
-- Set or take away one emoji: at most 20 of one person and 50 different ones on a message, as all of them are told with it.
CREATE OR REPLACE FUNCTION messages.react(
    conversation UUID, message UUID, reactor UUID, with_emoji TEXT, is_on BOOLEAN,
    OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, reactor);
BEGIN
    outcome = CASE
        WHEN NOT EXISTS (
            SELECT FROM messages.messages m
            WHERE m.id = message AND m.conversation_id = conversation AND m.seq > me.joined_seq AND m.deleted IS NOT TRUE
              AND m.withheld_from IS DISTINCT FROM reactor) THEN 'not_found'
        WHEN me.silenced THEN 'silenced'
        WHEN NOT is_on OR EXISTS (SELECT FROM messages.reactions r
                                  WHERE r.message_id = message AND r.user_id = reactor AND r.emoji = with_emoji) THEN 'ok'
        WHEN (SELECT count(*) FROM messages.reactions r WHERE r.message_id = message AND r.user_id = reactor) >= 20
             OR (SELECT count(DISTINCT r.emoji) FROM messages.reactions r
                 WHERE r.message_id = message AND r.emoji <> with_emoji) >= 50 THEN 'too_many'
        ELSE 'ok'
    END;
    IF outcome = 'ok' THEN
        IF is_on THEN
            INSERT INTO messages.reactions (message_id, user_id, emoji) VALUES (message, reactor, with_emoji)
            ON CONFLICT DO NOTHING;
        ELSE
            DELETE FROM messages.reactions WHERE message_id = message AND user_id = reactor AND emoji = with_emoji;
        END IF;
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- function: messages.hide
-- Note that a user deleted a message for himself or herself alone; noted before: nothing changes.
CREATE OR REPLACE FUNCTION messages.hide(conversation UUID, message UUID, hider UUID, OUT outcome TEXT)
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM users.heads h WHERE h.user_id = hider FOR NO KEY UPDATE;
    outcome = 'ok';
    IF NOT EXISTS (SELECT FROM messages.hidden h
                   WHERE h.message_id = message AND h.user_id = hider AND h.conversation_id = conversation) THEN
        INSERT INTO messages.hidden (user_id, message_id, conversation_id, seq, user_rev)
        SELECT hider, m.id, m.conversation_id, m.seq, users.take_rev(hider)
        FROM messages.messages m
        JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
        WHERE m.id = message AND m.conversation_id = conversation AND messages.is_readable(conversation, hider, m.seq, m.rev);
        outcome = CASE WHEN FOUND THEN 'ok' ELSE 'not_found' END;
    END IF;
END
$$;

-- function: messages.pin
-- Pin a message, or no longer; as it was already: no rev taken.
CREATE OR REPLACE FUNCTION messages.pin(
    conversation UUID, message UUID, pinner UUID, is_on BOOLEAN, most INT, OUT outcome TEXT, OUT snapshot messages.snapshots)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.enter(conversation, pinner);
    old messages.messages = messages.readable(conversation, message, pinner);
    may_pin BOOLEAN = me.role = 'admin' OR EXISTS (
        SELECT FROM messages.conversations WHERE id = conversation AND type = 'direct');
BEGIN
    outcome = CASE
        WHEN me.user_id IS NULL OR old.id IS NULL THEN 'not_found'
        WHEN me.silenced THEN 'silenced'
        WHEN NOT may_pin THEN 'admins_only'
        WHEN is_on AND old.pinned_at IS NULL AND most <= (
            SELECT count(*) FROM messages.messages m
            WHERE m.conversation_id = conversation AND m.pinned_at IS NOT NULL AND m.deleted IS NOT TRUE) THEN 'too_many'
        ELSE 'ok'
    END;
    IF outcome = 'ok' THEN
        IF is_on <> (old.pinned_at IS NOT NULL) THEN
            UPDATE messages.messages
            SET pinned_at = CASE WHEN is_on THEN CURRENT_TIMESTAMP END, pinned_by = CASE WHEN is_on THEN pinner END,
                rev = messages.take_rev(conversation)
            WHERE id = message;
        END IF;
        SELECT s.* INTO snapshot FROM messages.snapshots s WHERE s.id = message;
    END IF;
END
$$;

-- name: send(ids, conversations, senders, contents, replies, types, metadatas, forwards, mentions, tracked_members, wait) -> SendRow
-- The group commit: one row for each message, in the order given.
SELECT n, outcome, is_new, seq, rev, created_at, untold, withheld_from, mentioned
FROM messages.send($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)

-- function: messages.tell
-- Lock first, look then: what a send commits while we wait for the lock is later than what we would have seen.
CREATE OR REPLACE FUNCTION messages.tell(untold UUID[]) RETURNS VOID LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM messages.conversations WHERE id = ANY (untold) ORDER BY id FOR NO KEY UPDATE;
    UPDATE messages.conversations c SET last_message_id = l.id, last_message_at = l.created_at
    FROM unnest(untold) i(id)
    CROSS JOIN LATERAL (
        SELECT m.id, m.created_at FROM messages.messages m WHERE m.conversation_id = i.id ORDER BY m.seq DESC LIMIT 1
    ) l
    WHERE c.id = i.id;
END
$$;

-- name: tell(conversations) -> None
-- Write last_message_* of large conversations, whose sends leave it at most once a second.
SELECT messages.tell($1)

-- name: find(ids, conversations, senders) -> FoundRow
-- Which of these sends are stored: how an unknown outcome becomes known.
SELECT i.n, m.seq, m.created_at
FROM unnest($1::uuid[], $2::uuid[], $3::uuid[]) WITH ORDINALITY i(id, conversation, sender, n)
JOIN messages.messages m ON m.id = i.id AND m.conversation_id = i.conversation AND m.from_user_id = i.sender

-- name: edit(conversation, message, editor, content, window_s) -> ChangedRow
-- The same content again: the message as it is, no rev taken.
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.rewrite($1, $2, $3, $4, $5)

-- name: edits(conversation, message, viewer) -> EditRow
-- What a message said before, the oldest first; nothing of one that the viewer may not read.
SELECT e.content, e.written_at
FROM messages.edits e
WHERE e.message_id = $2 AND (messages.readable($1, $2, $3)).id IS NOT NULL
ORDER BY e.version

-- name: remove(conversation, message, remover) -> ChangedRow
-- Leave a tombstone. Deleted already: the tombstone, no rev taken.
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.remove($1, $2, $3)

-- name: react(conversation, message, reactor, emoji, is_on) -> ChangedRow
-- Set or take away one emoji. As it was already: the message as it is, no rev taken.
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.react($1, $2, $3, $4, $5)

-- name: hide(conversation, message, hider) -> None
-- Delete a message for one user alone.
SELECT messages.hide($1, $2, $3) AS outcome

-- name: pin(conversation, message, pinner, is_on, most) -> ChangedRow
SELECT outcome, to_jsonb(snapshot)::text AS snapshot
FROM messages.pin($1, $2, $3, $4, $5)

-- name: pins(conversation, viewer) -> ReadRow
-- The pinned messages that the viewer may read, the one pinned last first.
SELECT s.seq, to_jsonb(s)::text AS snapshot
FROM messages.messages m
JOIN messages.snapshots s ON s.id = m.id
WHERE m.conversation_id = $1 AND m.pinned_at IS NOT NULL AND (messages.readable($1, m.id, $2)).id IS NOT NULL
ORDER BY m.pinned_at DESC, m.seq DESC

-- name: mentions(viewer, limit, before, before_message) -> MentionRow
-- The messages that name the viewer, below a place in the order, which is (created_at, id), descending.
SELECT n.created_at, n.message_id, to_jsonb(s)::text AS snapshot
FROM messages.mentioned n
JOIN messages.snapshots s ON s.id = n.message_id
WHERE n.user_id = $1 AND ($3::timestamp IS NULL OR (n.created_at, n.message_id) < ($3, $4::uuid))
  AND (messages.readable(s.conversation_id, s.id, $1)).id IS NOT NULL
ORDER BY n.created_at DESC, n.message_id DESC
LIMIT $2

-- name: source(message, viewer) -> ReadRow
-- A message that the viewer may read, wherever it is: what is to be forwarded.
SELECT s.seq, to_jsonb(s)::text AS snapshot
FROM messages.snapshots s
WHERE s.id = $1 AND (messages.readable(s.conversation_id, s.id, $2)).id IS NOT NULL

-- name: exists(conversation, message, viewer) -> bool
-- Whether the viewer may read a message.
SELECT (messages.readable($1, $2, $3)).id IS NOT NULL

-- name: mine(messages, viewer) -> MineRow
-- What the viewer added to these messages.
SELECT i.id, ARRAY(SELECT r.emoji::text FROM messages.reactions r
                   WHERE r.message_id = i.id AND r.user_id = $2 ORDER BY r.created_at, r.id) AS reactions,
       ARRAY(SELECT v.option::int FROM messages.votes v
             WHERE v.message_id = i.id AND v.user_id = $2 ORDER BY v.option) AS votes
FROM unnest($1::uuid[]) i(id)

-- name: before(conversation, viewer, seq, limit) -> ReadRow
-- The readable messages below `seq`, the last one first. Each time of membership is a range of the index: what somebody may
-- not read costs nothing.
SELECT p.seq, p.snapshot
FROM (
    SELECT DISTINCT ON (r.seq) r.seq, r.snapshot
    FROM messages.members m
    JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    CROSS JOIN LATERAL (
        SELECT s.seq, to_jsonb(s)::text AS snapshot
        FROM messages.snapshots s
        WHERE s.conversation_id = $1 AND s.seq > m.joined_seq AND s.seq < least($3, m.left_seq + 1)
          AND (m.left_rev IS NULL OR s.rev <= m.left_rev)
          AND NOT EXISTS (SELECT FROM messages.hidden h
                          WHERE h.user_id = $2 AND h.conversation_id = $1 AND h.seq = s.seq)
        ORDER BY s.seq DESC
        LIMIT $4
    ) r
    WHERE m.conversation_id = $1 AND m.user_id = $2
    ORDER BY r.seq DESC
) p
ORDER BY p.seq DESC
LIMIT $4

-- name: after(conversation, viewer, seq, limit) -> ReadRow
-- The readable messages above `seq`, the first one first.
SELECT p.seq, p.snapshot
FROM (
    SELECT DISTINCT ON (r.seq) r.seq, r.snapshot
    FROM messages.members m
    JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    CROSS JOIN LATERAL (
        SELECT s.seq, to_jsonb(s)::text AS snapshot
        FROM messages.snapshots s
        WHERE s.conversation_id = $1 AND s.seq > greatest($3, m.joined_seq)
          AND s.seq <= coalesce(m.left_seq, 9223372036854775807)
          AND (m.left_rev IS NULL OR s.rev <= m.left_rev)
          AND NOT EXISTS (SELECT FROM messages.hidden h
                          WHERE h.user_id = $2 AND h.conversation_id = $1 AND h.seq = s.seq)
        ORDER BY s.seq
        LIMIT $4
    ) r
    WHERE m.conversation_id = $1 AND m.user_id = $2
    ORDER BY r.seq
) p
ORDER BY p.seq
LIMIT $4

-- name: seq_of(conversation, viewer, message) -> int
-- The place of a message that the viewer may read; no row for any other.
SELECT s.seq
FROM messages.snapshots s
WHERE s.id = $3 AND s.conversation_id = $1 AND messages.is_readable($1, $2, s.seq, s.rev)
  AND EXISTS (SELECT FROM messages.conversations c WHERE c.id = $1 AND c.deleted_at IS NULL)

-- function: messages.sought
-- What a search asks for: each term is a word, or several as a phrase, or what the message must not have; terms of one group
-- are alternatives. With `is_open` the last term is the beginning of a word. `exact` is the question, `coarse` finds no less
-- and begins no walk along all words that begin alike, `wanted` is any word that is to be marked: NULL, if there is none.
CREATE OR REPLACE FUNCTION messages.sought(
    terms TEXT[], groups INT[], negated BOOLEAN[], is_open BOOLEAN, OUT exact TSQUERY, OUT coarse TSQUERY, OUT wanted TSQUERY)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    words TEXT;
    said TSQUERY;
    stems TSQUERY;
    roughly TSQUERY;
    word TEXT;
    alternatives TSQUERY;
    rough_alternatives TSQUERY;
BEGIN
    FOR i IN 1 .. cardinality(terms) LOOP
        words = messages.words_of(terms[i], TRUE);
        said = phraseto_tsquery('pg_catalog.simple', words);
        stems = phraseto_tsquery('messages.stems', words);
        roughly = said;
        word = btrim(said::text, '''');
        IF is_open AND i = cardinality(terms) AND numnode(said) = 1 AND length(word) > 2 THEN
            roughly = quote_literal('ǂ' || left(word, 3))::tsquery || CASE length(word) WHEN 3 THEN said ELSE ''::tsquery END;
            said = (quote_literal(word) || ':*')::tsquery;
        END IF;
        CONTINUE WHEN numnode(said) = 0;
        IF negated[i] THEN
            said = !!(said || stems);
            roughly = said;
        ELSE
            said = said || stems;
            roughly = roughly || stems;
            wanted = coalesce(wanted || said, said);
        END IF;
        IF alternatives IS NOT NULL AND groups[i] = groups[i - 1] THEN
            alternatives = alternatives || said;
            rough_alternatives = rough_alternatives || roughly;
        ELSE
            exact = coalesce(exact && alternatives, alternatives);
            coarse = coalesce(coarse && rough_alternatives, rough_alternatives);
            alternatives = said;
            rough_alternatives = roughly;
        END IF;
    END LOOP;
    exact = coalesce(exact && alternatives, alternatives);
    coarse = coalesce(coarse && rough_alternatives, rough_alternatives);
    wanted = replace(wanted::text, '<->', '|')::tsquery;
END
$$;

-- function: messages.search
-- The newest messages that a viewer may read and that answer a question, a few more than `most` in each conversation. The
-- one with the latest message comes first, and where all that is left is older than what was found, nothing more is looked
-- at. A large conversation is searched from its end: four thousand messages, then 64 thousand, then all. So a word that is
-- in every third message is found among the last ones, and one that is rare has few places anywhere.
-- Among the last ones an unfinished word is looked for by its first three letters, and compared; that is cheap where many
-- begin so. Where few do, and only then, all words that begin so are walked along.
-- What is asked of the index names conversation and words in one condition, so that it walks along the shorter of the two.
-- `seq + 0` keeps idx_messages_seq out: it begins with the conversation, which is in the condition already.
CREATE OR REPLACE FUNCTION messages.search(
    viewer UUID, terms TEXT[], groups INT[], negated BOOLEAN[], is_open BOOLEAN, within UUID, sender UUID, of_type TEXT,
    since TIMESTAMP, until TIMESTAMP, below_at TIMESTAMP, below_conversation UUID, below_seq BIGINT, most INT)
RETURNS TABLE (conversation_id UUID, seq BIGINT, id UUID, created_at TIMESTAMP)
LANGUAGE plpgsql STABLE SET max_parallel_workers_per_gather = 0 AS $$
#variable_conflict use_column
DECLARE
    inexact CONSTANT INTERVAL = '1 minute';  -- by which the times of neighbours may differ from their order
    enough CONSTANT INT = most + 10;
    sought RECORD = messages.sought(terms, groups, negated, is_open);
    filters TSQUERY = concat_ws('&', quote_literal('s:' || sender), quote_literal('t:' || of_type))::tsquery;
    upper_at TIMESTAMP = least(until, below_at) + inexact;
    lower_at TIMESTAMP = since - inexact;
    place RECORD;
    reach BIGINT;
    top BIGINT;
    bottom BIGINT;
    asked TSQUERY;
    found INT;
    times TIMESTAMP[] = '{}';
BEGIN
    IF sought.wanted IS NULL THEN
        RETURN;
    END IF;
    FOR place IN
        SELECT m.conversation_id AS id, m.joined_seq AS lowest, coalesce(m.left_seq, h.last_seq) AS highest, m.left_rev,
               h.last_seq, l.created_at AS latest
        FROM messages.members m
        JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
        JOIN messages.heads h ON h.conversation_id = m.conversation_id
        LEFT JOIN messages.messages l
               ON l.conversation_id = m.conversation_id AND l.seq = coalesce(m.left_seq, h.last_seq)
        WHERE m.user_id = viewer AND (within IS NULL OR m.conversation_id = within)
        ORDER BY l.created_at DESC NULLS FIRST
    LOOP
        EXIT WHEN place.latest < times[enough] - inexact;
        IF place.highest - place.lowest > 4096 AND upper_at IS NOT NULL THEN
            place.highest = (
                SELECT m.seq FROM messages.messages m
                WHERE m.conversation_id = place.id AND m.created_at <= upper_at AND m.seq + 0 <= place.highest
                ORDER BY m.created_at DESC LIMIT 1);
        END IF;
        IF place.highest - place.lowest > 4096 AND lower_at IS NOT NULL THEN
            place.lowest = greatest(place.lowest, (
                SELECT m.seq - 1 FROM messages.messages m
                WHERE m.conversation_id = place.id AND m.created_at >= lower_at
                ORDER BY m.created_at LIMIT 1));
        END IF;
        found = 0;
        top = place.highest;
        FOREACH reach IN ARRAY ARRAY[4096, 65536, 9223372036854775807] LOOP
            EXIT WHEN top IS NULL OR top <= place.lowest OR found >= enough;
            bottom = greatest(place.lowest, place.highest - reach);
            asked = CASE reach WHEN 4096 THEN sought.coarse ELSE sought.exact END && filters;
            IF top - bottom > 65536 OR (bottom < 1024 AND top > place.last_seq - 1024) THEN
                asked = asked && quote_literal('c:' || place.id)::tsquery;
            ELSE
                asked = asked && (SELECT string_agg(quote_literal('c:' || place.id || ':' || n), '|')
                                  FROM generate_series((bottom + 1) >> 10, top >> 10) n)::tsquery;
            END IF;
            FOR conversation_id, seq, id, created_at IN
                SELECT m.conversation_id, m.seq, m.id, m.created_at
                FROM messages.messages m
                WHERE messages.searchable(m.conversation_id, m.seq, m.from_user_id, m.type, m.content) @@ asked
                  AND m.deleted IS NOT TRUE AND m.seq IS NOT NULL AND m.seq + 0 > bottom AND m.seq + 0 <= top
                  AND (place.left_rev IS NULL OR m.rev <= place.left_rev)
                  AND m.withheld_from IS DISTINCT FROM viewer
                  AND (since IS NULL OR m.created_at >= since)
                  AND (until IS NULL OR m.created_at < until)
                  AND (below_at IS NULL
                       OR (m.created_at, m.conversation_id, m.seq) < (below_at, below_conversation, below_seq))
                  AND (NOT is_open OR reach > 4096 OR ts_match_vq(
                           messages.searchable(m.conversation_id, m.seq, m.from_user_id, m.type, m.content), sought.exact))
                  AND NOT EXISTS (SELECT FROM messages.hidden h
                                  WHERE h.user_id = viewer AND h.conversation_id = m.conversation_id AND h.seq = m.seq)
                ORDER BY m.seq DESC
                LIMIT enough - found
            LOOP
                found = found + 1;
                times = times || created_at;
                RETURN NEXT;
            END LOOP;
            top = bottom;
        END LOOP;
        IF found > 0 THEN
            times = ARRAY(SELECT t FROM unnest(times) t ORDER BY t DESC LIMIT enough);
        END IF;
    END LOOP;
END
$$;

-- name: search(viewer, terms, groups, negated, is_open, conversation, sender, type, since, until, is_ranked, score, at, in, seq, as_of, limit) -> HitRow
-- The messages that answer a question, below a place in the order asked for: the newest first, or the 300 newest by how well
-- they fit, half of it lost in half a year. `as_of` stays the same from page to page, so that the order does.
WITH candidates AS MATERIALIZED (
    SELECT DISTINCT f.created_at, f.conversation_id, f.seq, f.id
    FROM messages.search(
        $1, $2, $3, $4, $5, $6, $7, $8, $9, CASE WHEN $11 THEN least($10::timestamp, $16::timestamp) ELSE $10 END,
        CASE WHEN NOT $11 THEN $13::timestamp END, CASE WHEN NOT $11 THEN $14::uuid END,
        CASE WHEN NOT $11 THEN $15::bigint END, CASE WHEN $11 THEN 300 ELSE $17 END) f
    ORDER BY 1 DESC, 2 DESC, 3 DESC
    LIMIT CASE WHEN $11 THEN 300 ELSE $17 END
), ranked AS MATERIALIZED (
    SELECT c.*, CASE WHEN $11 THEN (
               1000000 * power(0.5, extract(epoch FROM coalesce($16, CURRENT_TIMESTAMP::timestamp) - c.created_at) / 15552000)
               * ts_rank_cd(messages.searchable(m.conversation_id, m.seq, m.from_user_id, m.type, m.content), q.exact, 1)
           )::bigint ELSE 0 END AS score
    FROM candidates c
    JOIN messages.messages m ON m.id = c.id
    CROSS JOIN messages.sought($2, $3, $4, $5) q
)
SELECT r.score, r.created_at, r.conversation_id, r.seq, coalesce($16, CURRENT_TIMESTAMP::timestamp) AS as_of,
       to_jsonb(s)::text AS snapshot
FROM (
    SELECT * FROM ranked
    WHERE $12::bigint IS NULL OR (score, created_at, conversation_id, seq) < ($12, $13, $14, $15)
    ORDER BY score DESC, created_at DESC, conversation_id DESC, seq DESC
    LIMIT $17
) r
JOIN messages.snapshots s ON s.id = r.id
ORDER BY r.score DESC, r.created_at DESC, r.conversation_id DESC, r.seq DESC

-- name: sought_among(words, terms, groups, negated, is_open) -> WordRow
-- Those of these words for which a message was found.
SELECT w.word
FROM unnest($1::text[]) w(word)
WHERE to_tsvector('pg_catalog.simple', messages.words_of(w.word, TRUE))
      || to_tsvector('messages.stems', messages.words_of(w.word, TRUE))
      @@ (SELECT q.wanted FROM messages.sought($2, $3, $4, $5) q)

-- function: messages.is_readable
-- What a member may read: the seqs of the times of membership and, of one who left, nothing that changed since; nothing
-- that the member deleted for himself or herself.
CREATE OR REPLACE FUNCTION messages.is_readable(conversation UUID, viewer UUID, at_seq BIGINT, at_rev BIGINT)
RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM messages.members m
        WHERE m.conversation_id = conversation AND m.user_id = viewer AND at_seq > m.joined_seq
          AND (m.left_seq IS NULL OR (at_seq <= m.left_seq AND at_rev <= m.left_rev)))
       AND NOT EXISTS (SELECT FROM messages.hidden h
                       WHERE h.user_id = viewer AND h.conversation_id = conversation AND h.seq = at_seq)
$$;

-- function: messages.readable
-- A message that a viewer may read, or NULL: one that is not deleted, nor kept from the viewer.
CREATE OR REPLACE FUNCTION messages.readable(conversation UUID, message UUID, viewer UUID)
RETURNS messages.messages LANGUAGE sql STABLE AS $$
    SELECT m.*
    FROM messages.messages m
    JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
    WHERE m.id = message AND m.conversation_id = conversation AND m.deleted IS NOT TRUE
      AND m.withheld_from IS DISTINCT FROM viewer AND messages.is_readable(conversation, viewer, m.seq, m.rev)
$$;
