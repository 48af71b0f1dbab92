-- Who takes part in a conversation. Each change is one rev; `participants` is written after the members.

-- function: messages.manage
-- Lock a conversation for a change of its row or its participants, and return the membership of `viewer`, or NULL for
-- strangers. The row comes before the head: a service that writes the row holds it when the trigger asks for the head.
CREATE OR REPLACE FUNCTION messages.manage(conversation UUID, viewer UUID) RETURNS messages.members LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM messages.conversations c
    WHERE c.id = conversation
      AND EXISTS (SELECT FROM messages.members m
                  WHERE m.conversation_id = conversation AND m.user_id = viewer AND m.left_seq IS NULL)
    FOR NO KEY UPDATE;
    RETURN messages.enter(conversation, viewer);
END
$$;

-- function: messages.as_admin
-- Whether a member may change who takes part, as an outcome: an admin may, where there are admins.
CREATE OR REPLACE FUNCTION messages.as_admin(me messages.members) RETURNS TEXT LANGUAGE sql STABLE AS $$
    SELECT CASE
        WHEN me.user_id IS NULL THEN 'not_found'
        WHEN (SELECT c.type FROM messages.conversations c WHERE c.id = me.conversation_id) = 'direct' THEN 'wrong_type'
        WHEN me.role <> 'admin' THEN 'admins_only'
        ELSE 'ok'
    END
$$;

-- function: messages.present
-- The membership of one who takes part now, or NULL.
CREATE OR REPLACE FUNCTION messages.present(conversation UUID, participant UUID) RETURNS messages.members LANGUAGE sql STABLE AS $$
    SELECT m FROM messages.members m
    WHERE m.conversation_id = conversation AND m.user_id = participant AND m.left_seq IS NULL
$$;

-- function: messages.accepts_invitation
-- Whether somebody lets this user add him or her to groups and channels, by `users.sight`: blocks do not count, as groups are
-- not concerned by them. Who does not exist accepts none.
CREATE OR REPLACE FUNCTION messages.accepts_invitation(invited UUID, inviter UUID) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM auth.users u CROSS JOIN LATERAL users.sight(inviter, u.id) s
        WHERE u.id = invited AND u.deleted_at IS NULL AND s.invites)
$$;

-- function: messages.admit
-- Let users take part, none of whom does; the head is locked. Users' own heads are locked in the order of their ids,
-- by whoever changes several.
CREATE OR REPLACE FUNCTION messages.admit(conversation UUID, newcomers UUID[], as_role TEXT)
RETURNS SETOF messages.members LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH counted AS (
        INSERT INTO users.heads AS h (user_id, last_rev)
        SELECT n, 1 FROM unnest(newcomers) n ORDER BY n
        ON CONFLICT (user_id) DO UPDATE SET last_rev = h.last_rev + 1
        RETURNING h.user_id, h.last_rev
    ), head AS (
        UPDATE messages.heads h
        SET last_rev = h.last_rev + cardinality(newcomers), member_count = h.member_count + cardinality(newcomers)
        FROM messages.conversations c
        WHERE h.conversation_id = conversation AND c.id = conversation
        RETURNING h.last_seq, h.last_rev - cardinality(newcomers) AS rev,
                  CASE c.metadata ->> 'history' WHEN 'joined' THEN h.last_seq ELSE 0 END AS unread_from
    )
    INSERT INTO messages.members
        (conversation_id, user_id, role, told, joined_seq, joined_rev, rev, user_rev, delivered_seq, read_seq)
    SELECT conversation, n.user_id, as_role, as_role <> 'reader', head.unread_from, n.rev, n.rev, n.last_rev,
           head.last_seq, head.last_seq
    FROM head, LATERAL (SELECT c.user_id, c.last_rev, head.rev + row_number() OVER (ORDER BY c.user_id) AS rev FROM counted c) n
    RETURNING *;
END
$$;

-- function: messages.amend
-- Give a participant another role, or silence; row and head are locked.
CREATE OR REPLACE FUNCTION messages.amend(conversation UUID, participant UUID, new_role TEXT, is_silenced BOOLEAN)
RETURNS JSONB LANGUAGE plpgsql AS $$
DECLARE
    old messages.members = messages.present(conversation, participant);
    taken BIGINT = messages.take_rev(conversation);
    own_taken BIGINT = users.take_rev(participant);
    new messages.members;
BEGIN
    UPDATE messages.members m
    SET role = new_role, silenced = is_silenced, told = m.told OR new_role <> 'reader', rev = taken, user_rev = own_taken
    WHERE m.conversation_id = conversation AND m.user_id = participant AND m.left_seq IS NULL
    RETURNING * INTO new;
    PERFORM messages.write_list(conversation) WHERE 'reader' <> old.role OR 'reader' <> new.role;
    RETURN to_jsonb(new);
END
$$;

-- function: messages.depart
-- End a membership; row and head are locked.
CREATE OR REPLACE FUNCTION messages.depart(conversation UUID, participant UUID, is_removed BOOLEAN)
RETURNS JSONB LANGUAGE plpgsql AS $$
DECLARE
    head messages.heads;
    own_taken BIGINT = users.take_rev(participant);
    gone messages.members;
BEGIN
    UPDATE messages.heads SET last_rev = last_rev + 1, member_count = member_count - 1
    WHERE conversation_id = conversation RETURNING * INTO head;
    UPDATE messages.members m
    SET left_seq = head.last_seq, left_rev = head.last_rev, rev = head.last_rev, user_rev = own_taken, removed = is_removed
    WHERE m.conversation_id = conversation AND m.user_id = participant AND m.left_seq IS NULL
    RETURNING * INTO gone;
    PERFORM messages.write_list(conversation) WHERE gone.role <> 'reader';
    RETURN to_jsonb(gone);
END
$$;

-- function: messages.is_last_admin
CREATE OR REPLACE FUNCTION messages.is_last_admin(conversation UUID, participant UUID) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT (messages.present(conversation, participant)).role = 'admin' AND NOT EXISTS (
        SELECT FROM messages.members m
        WHERE m.conversation_id = conversation AND m.left_seq IS NULL AND m.role = 'admin' AND m.user_id <> participant)
$$;

-- function: messages.add_participants
-- `refused` are those who do not take part afterwards, whatever the reason.
CREATE OR REPLACE FUNCTION messages.add_participants(
    conversation UUID, inviter UUID, invited UUID[], most INT, OUT outcome TEXT, OUT changed JSONB, OUT refused UUID[])
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.manage(conversation, inviter);
    is_channel BOOLEAN = (SELECT c.type = 'channel' FROM messages.conversations c WHERE c.id = conversation);
    absent UUID[];
    newcomers UUID[];
BEGIN
    outcome = messages.as_admin(me);
    IF outcome <> 'ok' THEN
        RETURN;
    END IF;
    absent = ARRAY(SELECT DISTINCT u FROM unnest(invited) u WHERE messages.present(conversation, u) IS NULL ORDER BY u);
    newcomers = ARRAY(SELECT u FROM unnest(absent) u WHERE messages.accepts_invitation(u, inviter) ORDER BY u);
    refused = ARRAY(SELECT u FROM unnest(absent) u WHERE u <> ALL (newcomers) ORDER BY u);
    IF NOT is_channel AND newcomers <> '{}'
       AND (SELECT h.member_count FROM messages.heads h WHERE h.conversation_id = conversation) + cardinality(newcomers) > most
    THEN
        outcome = 'full';
    ELSIF newcomers <> '{}' THEN
        SELECT jsonb_agg(to_jsonb(m) ORDER BY m.rev) INTO changed
        FROM messages.admit(conversation, newcomers, CASE WHEN is_channel THEN 'reader' ELSE 'member' END) m;
        PERFORM messages.write_list(conversation) WHERE NOT is_channel;
    END IF;
END
$$;

-- name: add(conversation, inviter, invited, most) -> AddedRow
-- Let users take part who accept the invitation.
SELECT outcome, coalesce(changed, '[]')::text AS changed, refused FROM messages.add_participants($1, $2, $3, $4)

-- function: messages.remove_participant
CREATE OR REPLACE FUNCTION messages.remove_participant(
    conversation UUID, remover UUID, participant UUID, OUT outcome TEXT, OUT changed JSONB)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.manage(conversation, remover);
BEGIN
    outcome = messages.as_admin(me);
    IF outcome <> 'ok' THEN
        RETURN;
    ELSIF NOT (messages.present(conversation, participant)) IS NULL THEN  -- IS NOT NULL asks for no NULL in any column
        changed = jsonb_build_array(messages.depart(conversation, participant, TRUE));
    ELSIF NOT EXISTS (SELECT FROM messages.members m WHERE m.conversation_id = conversation AND m.user_id = participant) THEN
        outcome = 'not_found';
    END IF;
END
$$;

-- name: remove(conversation, remover, participant) -> ChangedMembersRow
-- End somebody's membership. Ended already: nothing changes.
SELECT outcome, coalesce(changed, '[]')::text AS changed FROM messages.remove_participant($1, $2, $3)

-- function: messages.set_role
-- Who is made an admin may speak; who is no longer one is what the others are.
CREATE OR REPLACE FUNCTION messages.set_role(
    conversation UUID, setter UUID, participant UUID, is_admin BOOLEAN, OUT outcome TEXT, OUT changed JSONB)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.manage(conversation, setter);
    them messages.members = messages.present(conversation, participant);
    ordinary TEXT = (SELECT CASE c.type WHEN 'channel' THEN 'reader' ELSE 'member' END
                     FROM messages.conversations c WHERE c.id = conversation);
BEGIN
    outcome = messages.as_admin(me);
    IF outcome <> 'ok' THEN
        RETURN;
    ELSIF them IS NULL THEN
        outcome = 'not_found';
    ELSIF is_admin AND them.role <> 'admin' THEN
        changed = jsonb_build_array(messages.amend(conversation, participant, 'admin', FALSE));
    ELSIF NOT is_admin AND messages.is_last_admin(conversation, participant) THEN
        outcome = 'last_admin';
    ELSIF NOT is_admin AND them.role = 'admin' THEN
        changed = jsonb_build_array(messages.amend(conversation, participant, ordinary, them.silenced));
    END IF;
END
$$;

-- name: set_role(conversation, setter, participant, is_admin) -> ChangedMembersRow
-- Make somebody an admin, or no longer. As it was already: nothing changes.
SELECT outcome, coalesce(changed, '[]')::text AS changed FROM messages.set_role($1, $2, $3, $4)

-- function: messages.silence
-- An admin is not silenced: he or she could speak again at any time.
CREATE OR REPLACE FUNCTION messages.silence(
    conversation UUID, silencer UUID, participant UUID, is_on BOOLEAN, OUT outcome TEXT, OUT changed JSONB)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = messages.manage(conversation, silencer);
    them messages.members = messages.present(conversation, participant);
BEGIN
    outcome = messages.as_admin(me);
    IF outcome <> 'ok' THEN
        RETURN;
    ELSIF them IS NULL THEN
        outcome = 'not_found';
    ELSIF is_on AND them.role = 'admin' THEN
        outcome = 'is_admin';
    ELSIF is_on <> them.silenced THEN
        changed = jsonb_build_array(messages.amend(conversation, participant, them.role, is_on));
    END IF;
END
$$;

-- name: silence(conversation, silencer, participant, is_on) -> ChangedMembersRow
-- Let somebody write no more, or again. As it was already: nothing changes.
SELECT outcome, coalesce(changed, '[]')::text AS changed FROM messages.silence($1, $2, $3, $4)

-- function: messages.seize
-- As `manage`, for one whose account has ended, also where the conversation has.
CREATE OR REPLACE FUNCTION messages.seize(conversation UUID, viewer UUID) RETURNS messages.members LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM messages.conversations c WHERE c.id = conversation FOR NO KEY UPDATE;
    PERFORM FROM messages.heads h WHERE h.conversation_id = conversation FOR NO KEY UPDATE;
    RETURN messages.present(conversation, viewer);
END
$$;

-- function: messages.leave
-- The last admin stays while others are there. One who `must` go, because the account has ended, leaves a group to the one
-- who has been in it the longest, to a silenced one if there is nobody else; a channel without another poster stays as it
-- is, for reading. Whoever goes last closes the conversation. One who left before: nothing changes. A direct conversation is
-- not left.
CREATE OR REPLACE FUNCTION messages.leave(
    conversation UUID, leaver UUID, must BOOLEAN, OUT outcome TEXT, OUT changed JSONB)
LANGUAGE plpgsql AS $$
DECLARE
    me messages.members = CASE WHEN must THEN messages.seize(conversation, leaver) ELSE messages.manage(conversation, leaver) END;
    heir UUID;
BEGIN
    outcome = messages.as_admin(me);
    changed = '[]';
    IF outcome = 'not_found' THEN
        outcome = CASE WHEN EXISTS (
            SELECT FROM messages.members m
            JOIN messages.conversations c ON c.id = m.conversation_id AND c.deleted_at IS NULL
            WHERE m.conversation_id = conversation AND m.user_id = leaver) THEN 'ok' ELSE 'not_found' END;
        RETURN;
    ELSIF outcome = 'wrong_type' THEN
        RETURN;
    END IF;
    outcome = 'ok';
    IF messages.is_last_admin(conversation, leaver) AND EXISTS (
        SELECT FROM messages.members m
        WHERE m.conversation_id = conversation AND m.left_seq IS NULL AND m.user_id <> leaver)
    THEN
        IF NOT must THEN
            outcome = 'last_admin';
            RETURN;
        END IF;
        SELECT m.user_id INTO heir FROM messages.members m
        WHERE m.conversation_id = conversation AND m.left_seq IS NULL AND m.role = 'member'
        ORDER BY m.silenced, m.joined_rev, m.user_id LIMIT 1;
        IF FOUND THEN
            PERFORM FROM users.heads h WHERE h.user_id IN (heir, leaver) ORDER BY h.user_id FOR NO KEY UPDATE;
            changed = jsonb_build_array(messages.amend(conversation, heir, 'admin', FALSE));
        END IF;
    END IF;
    changed = changed || jsonb_build_array(messages.depart(conversation, leaver, FALSE));
    UPDATE messages.conversations c SET deleted_at = CURRENT_TIMESTAMP
    WHERE c.id = conversation AND c.deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM messages.members m WHERE m.conversation_id = conversation AND m.left_seq IS NULL);
END
$$;

-- name: leave(conversation, leaver) -> ChangedMembersRow
-- End one's own membership.
SELECT outcome, changed::text AS changed FROM messages.leave($1, $2, FALSE)

-- function: messages.join_channel
-- A public channel is open to whoever knows its id, but for those who were removed.
CREATE OR REPLACE FUNCTION messages.join_channel(conversation UUID, joiner UUID, OUT outcome TEXT, OUT changed JSONB)
LANGUAGE plpgsql AS $$
BEGIN
    outcome = 'ok';
    IF messages.may_join(conversation, joiner) THEN  -- else strangers would get as far as the lock
        PERFORM FROM messages.heads h WHERE h.conversation_id = conversation FOR NO KEY UPDATE;
    END IF;
    IF messages.may_join(conversation, joiner) THEN
        SELECT jsonb_agg(to_jsonb(m)) INTO changed FROM messages.admit(conversation, ARRAY[joiner], 'reader') m;
    ELSIF (messages.enter(conversation, joiner)) IS NULL THEN
        outcome = 'not_found';
    END IF;
END
$$;

-- function: messages.may_join
-- Whether a conversation is a public channel in which the user is not, and from which nobody removed him or her last.
CREATE OR REPLACE FUNCTION messages.may_join(conversation UUID, joiner UUID) RETURNS BOOLEAN LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM messages.conversations c
        WHERE c.id = conversation AND c.type = 'channel' AND c.deleted_at IS NULL AND c.metadata -> 'public' = 'true')
       AND coalesce((SELECT m.left_seq IS NOT NULL AND NOT m.removed FROM messages.members m
                     WHERE m.conversation_id = conversation AND m.user_id = joiner
                     ORDER BY m.joined_rev DESC LIMIT 1), TRUE)
$$;

-- name: join(conversation, joiner) -> ChangedMembersRow
-- Become a reader of a public channel. One who takes part already: nothing changes.
SELECT outcome, coalesce(changed, '[]')::text AS changed FROM messages.join_channel($1, $2)

-- name: page(conversation, viewer, after_role, after_user, limit, with_readers) -> ParticipantRow
-- Who takes part, above a place in the order: admins, members, readers, each by id; with the receipts that the viewer is
-- told. A channel's readers are shown to its admins. No row for strangers.
SELECT m.user_id, m.role,
       CASE WHEN m.user_id = $2 THEN m.delivered_seq ELSE coalesce(m.told_delivered_seq, m.delivered_seq) END AS delivered_seq,
       CASE WHEN m.user_id = $2 THEN m.read_seq
            WHEN s.receipts THEN coalesce(m.told_read_seq, m.read_seq) ELSE 0 END AS read_seq,
       p.display_name, m.silenced, u.deleted_at IS NOT NULL
FROM messages.members me
JOIN messages.conversations c ON c.id = me.conversation_id AND c.deleted_at IS NULL
CROSS JOIN LATERAL (
    SELECT * FROM messages.members m
    WHERE m.conversation_id = $1 AND m.left_seq IS NULL AND (m.role, m.user_id) > ($3, $4::uuid)
      AND (m.role < 'reader' OR ($6::boolean AND me.role = 'admin'))
    ORDER BY m.role, m.user_id
    LIMIT $5
) m
JOIN auth.users u ON u.id = m.user_id
LEFT JOIN users.profiles p ON p.user_id = m.user_id
CROSS JOIN LATERAL users.sight($2, m.user_id) s
WHERE me.conversation_id = $1 AND me.user_id = $2 AND me.left_seq IS NULL
ORDER BY m.role, m.user_id
