-- Who sees what of whom: decided here, and nowhere else. docs/privacy.md has it as a table.

-- function: users.level
-- Who is meant by a privacy setting. None, or no row: everyone. A word that only another service knows: nobody.
CREATE OR REPLACE FUNCTION users.level(setting TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN setting IS NULL THEN 'everyone' WHEN setting IN ('everyone', 'contacts') THEN setting ELSE 'nobody' END
$$;

-- function: users.admits
CREATE OR REPLACE FUNCTION users.admits(setting TEXT, is_contact BOOLEAN) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(setting, 'everyone') = 'everyone' OR (setting = 'contacts' AND is_contact)
$$;

-- function: users.sight
-- What a viewer may see of an owner; always one row. PostgreSQL inlines it: a query pays for the columns that it reads.
--   last_seen, status, receipts, typing   by the settings of both: who does not show it does not see it
--   photo, bio, phone                     by the owner's settings
--   invites                               whether the viewer may add the owner to a group
--   gone_at                               the owner blocks the viewer: show one who is offline and was there last then
--   apart                                 one of the two blocks the other: in their direct conversation nothing momentary
--                                         is told
-- A contact counts if it is older than the block: neither blocking a contact nor noting down a blocked one shows.
CREATE OR REPLACE FUNCTION users.sight(viewer UUID, owner UUID)
RETURNS TABLE (last_seen BOOLEAN, status BOOLEAN, receipts BOOLEAN, typing BOOLEAN, photo BOOLEAN, bio BOOLEAN,
               phone BOOLEAN, invites BOOLEAN, gone_at TIMESTAMP, apart BOOLEAN)
LANGUAGE sql STABLE AS $$
    SELECT viewer = owner OR (vb.id IS NULL AND users.admits(o.show_last_seen, k.is_contact)
                              AND users.admits(v.show_last_seen, vc.id IS NOT NULL)),
           viewer = owner OR (vb.id IS NULL AND users.admits(o.show_status, k.is_contact)
                              AND users.admits(v.show_status, vc.id IS NOT NULL)),
           viewer = owner OR (o.show_read_receipts IS NOT FALSE AND v.show_read_receipts IS NOT FALSE),
           viewer = owner OR (o.show_typing_indicator IS NOT FALSE AND v.show_typing_indicator IS NOT FALSE),
           viewer = owner OR (p.profile_visible IS NOT FALSE AND users.admits(o.show_profile_photo, k.is_contact)),
           viewer = owner OR p.profile_visible IS NOT FALSE,
           viewer = owner OR p.phone_visible IS NOT FALSE,
           viewer = owner OR users.admits(o.allow_group_invites, k.is_contact),
           CASE WHEN viewer <> owner THEN coalesce(ob.gone_at, ob.blocked_at) END,
           viewer <> owner AND (ob.id IS NOT NULL OR vb.id IS NOT NULL)
    FROM (VALUES (1)) once
    LEFT JOIN users.privacy_settings o ON o.user_id = owner
    LEFT JOIN users.privacy_settings v ON v.user_id = viewer
    LEFT JOIN users.profiles p ON p.user_id = owner
    LEFT JOIN users.blocked_users ob ON ob.user_id = owner AND ob.blocked_user_id = viewer
    LEFT JOIN users.blocked_users vb ON vb.user_id = viewer AND vb.blocked_user_id = owner
    LEFT JOIN users.contacts oc ON oc.user_id = owner AND oc.contact_user_id = viewer
    LEFT JOIN users.contacts vc ON vc.user_id = viewer AND vc.contact_user_id = owner
    CROSS JOIN LATERAL (SELECT oc.id IS NOT NULL AND (ob.id IS NULL OR oc.added_at < ob.blocked_at) AS is_contact) k
$$;

-- name: get(owner) -> PrivacyRow
-- A user's settings; without any, the defaults.
SELECT users.level(s.show_last_seen) AS show_last_seen, users.level(s.show_profile_photo) AS show_profile_photo,
       users.level(s.show_status) AS show_status, coalesce(s.show_read_receipts, TRUE) AS show_read_receipts,
       coalesce(s.show_typing_indicator, TRUE) AS show_typing_indicator,
       users.level(s.allow_group_invites) AS allow_group_invites
FROM (VALUES (1)) once LEFT JOIN users.privacy_settings s ON s.user_id = $1

-- name: set(owner, show_last_seen, show_profile_photo, show_status, show_read_receipts, show_typing_indicator, allow_group_invites) -> None
-- Change what is given; as it was already: nothing changes.
INSERT INTO users.privacy_settings AS s
    (user_id, show_last_seen, show_profile_photo, show_status, show_read_receipts, show_typing_indicator, allow_group_invites)
VALUES ($1, coalesce($2, 'everyone'), coalesce($3, 'everyone'), coalesce($4, 'everyone'), coalesce($5, TRUE),
        coalesce($6, TRUE), coalesce($7, 'everyone'))
ON CONFLICT (user_id) DO UPDATE
SET show_last_seen = coalesce($2, s.show_last_seen), show_profile_photo = coalesce($3, s.show_profile_photo),
    show_status = coalesce($4, s.show_status), show_read_receipts = coalesce($5, s.show_read_receipts),
    show_typing_indicator = coalesce($6, s.show_typing_indicator),
    allow_group_invites = coalesce($7, s.allow_group_invites)
WHERE (coalesce($2, s.show_last_seen), coalesce($3, s.show_profile_photo), coalesce($4, s.show_status),
       coalesce($5, s.show_read_receipts), coalesce($6, s.show_typing_indicator), coalesce($7, s.allow_group_invites))
      IS DISTINCT FROM (s.show_last_seen, s.show_profile_photo, s.show_status, s.show_read_receipts, s.show_typing_indicator,
                        s.allow_group_invites)
