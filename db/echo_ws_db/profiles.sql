-- Profiles, as a viewer may see them.

-- name: get(viewer, owners) -> ProfileRow
-- One row for each of the owners, in the order given. Whoever is deleted and whoever never was are alike.
SELECT i.user_id, u.id IS NULL AS deleted, nullif(p.display_name, '') AS display_name,
       CASE WHEN s.bio THEN p.bio END AS bio,
       CASE WHEN s.photo THEN p.avatar_url END AS avatar_url,
       CASE WHEN s.phone THEN u.phone END AS phone,
       CASE WHEN u.id IS NULL OR NOT s.status THEN NULL
            WHEN s.gone_at IS NULL AND p.status IN ('online', 'away', 'busy') THEN p.status
            ELSE 'offline' END AS status,
       CASE WHEN s.last_seen AND p.user_id IS NOT NULL THEN coalesce(s.gone_at, p.last_seen) END AS last_seen,
       CASE WHEN i.user_id = $1 THEN coalesce(p.phone_visible, TRUE) END AS phone_visible,
       CASE WHEN i.user_id = $1 THEN coalesce(p.profile_visible, TRUE) END AS profile_visible
FROM unnest($2::uuid[]) WITH ORDINALITY i(user_id, n)
LEFT JOIN auth.users u ON u.id = i.user_id AND u.deleted_at IS NULL
LEFT JOIN users.profiles p ON p.user_id = u.id
CROSS JOIN LATERAL users.sight($1, i.user_id) s
ORDER BY i.n

-- name: set(owner, display_name, bio, avatar_url, phone_visible, profile_visible) -> None
-- Change what is given; empty text takes it away. As it was already: nothing changes.
INSERT INTO users.profiles AS p (user_id, display_name, bio, avatar_url, phone_visible, profile_visible)
VALUES ($1, coalesce($2, ''), nullif($3, ''), nullif($4, ''), coalesce($5, TRUE), coalesce($6, TRUE))
ON CONFLICT (user_id) DO UPDATE
SET display_name = coalesce($2, p.display_name), bio = nullif(coalesce($3, p.bio), ''),
    avatar_url = nullif(coalesce($4, p.avatar_url), ''), phone_visible = coalesce($5, p.phone_visible),
    profile_visible = coalesce($6, p.profile_visible)
WHERE (coalesce($2, p.display_name), nullif(coalesce($3, p.bio), ''), nullif(coalesce($4, p.avatar_url), ''),
       coalesce($5, p.phone_visible), coalesce($6, p.profile_visible))
      IS DISTINCT FROM (p.display_name, p.bio, p.avatar_url, p.phone_visible, p.profile_visible)
