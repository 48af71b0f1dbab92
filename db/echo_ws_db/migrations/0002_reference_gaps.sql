-- The six tables that the reference counts but does not describe, in its style.
-- adopt:extend = another service may have them already: what its tables lack is added so that its rows and
-- inserts stay valid (the ADD COLUMN lists), and nothing of its own is touched.

-- migrate:up adopt:extend

-- One picture of a file in one size: small, medium, large.
CREATE TABLE IF NOT EXISTS media.thumbnails (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    file_id UUID NOT NULL REFERENCES media.files(id) ON DELETE CASCADE,
    size VARCHAR(20) NOT NULL,
    width INT NOT NULL,
    height INT NOT NULL,
    file_size BIGINT NOT NULL,
    mime_type VARCHAR(100) NOT NULL,
    storage_path TEXT NOT NULL,
    url TEXT NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(file_id, size)
);

ALTER TABLE media.thumbnails
    ADD COLUMN IF NOT EXISTS file_id UUID NULL REFERENCES media.files(id) ON DELETE CASCADE,
    ADD COLUMN IF NOT EXISTS size VARCHAR(20) NULL,
    ADD COLUMN IF NOT EXISTS width INT NULL,
    ADD COLUMN IF NOT EXISTS height INT NULL,
    ADD COLUMN IF NOT EXISTS file_size BIGINT NULL,
    ADD COLUMN IF NOT EXISTS mime_type VARCHAR(100) NULL,
    ADD COLUMN IF NOT EXISTS storage_path TEXT NULL,
    ADD COLUMN IF NOT EXISTS url TEXT NULL,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP;

CREATE INDEX IF NOT EXISTS idx_media_thumbnails_file_id ON media.thumbnails(file_id);

-- A resumable upload: pending → uploading → completed, or failed, or expired. It becomes a row of media.files.
CREATE TABLE IF NOT EXISTS media.uploads (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    file_id UUID NULL REFERENCES media.files(id) ON DELETE SET NULL,
    file_name VARCHAR(255) NOT NULL,
    mime_type VARCHAR(100) NOT NULL,
    file_size BIGINT NOT NULL,
    upload_offset BIGINT NOT NULL DEFAULT 0,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    failure_reason VARCHAR(100) NULL,
    checksum VARCHAR(64) NULL,
    storage_path TEXT NOT NULL,
    metadata JSONB DEFAULT '{}'::jsonb,
    expires_at TIMESTAMP NOT NULL,
    completed_at TIMESTAMP NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

ALTER TABLE media.uploads
    ADD COLUMN IF NOT EXISTS user_id UUID NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    ADD COLUMN IF NOT EXISTS file_id UUID NULL REFERENCES media.files(id) ON DELETE SET NULL,
    ADD COLUMN IF NOT EXISTS file_name VARCHAR(255) NULL,
    ADD COLUMN IF NOT EXISTS mime_type VARCHAR(100) NULL,
    ADD COLUMN IF NOT EXISTS file_size BIGINT NULL,
    ADD COLUMN IF NOT EXISTS upload_offset BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS status VARCHAR(20) NOT NULL DEFAULT 'pending',
    ADD COLUMN IF NOT EXISTS failure_reason VARCHAR(100) NULL,
    ADD COLUMN IF NOT EXISTS checksum VARCHAR(64) NULL,
    ADD COLUMN IF NOT EXISTS storage_path TEXT NULL,
    ADD COLUMN IF NOT EXISTS metadata JSONB DEFAULT '{}'::jsonb,
    ADD COLUMN IF NOT EXISTS expires_at TIMESTAMP NULL,
    ADD COLUMN IF NOT EXISTS completed_at TIMESTAMP NULL,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP;

CREATE INDEX IF NOT EXISTS idx_media_uploads_user_id ON media.uploads(user_id);
CREATE INDEX IF NOT EXISTS idx_media_uploads_file_id ON media.uploads(file_id) WHERE file_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_media_uploads_expires_at ON media.uploads(expires_at) WHERE completed_at IS NULL;

-- What a user wants to be told, where and when. No row: the defaults. Quiet hours are local times in timezone, and may
-- cross midnight.
CREATE TABLE IF NOT EXISTS notifications.preferences (
    user_id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    push_enabled BOOLEAN NOT NULL DEFAULT TRUE,
    email_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    sms_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    direct_messages BOOLEAN NOT NULL DEFAULT TRUE,
    group_messages BOOLEAN NOT NULL DEFAULT TRUE,
    channel_messages BOOLEAN NOT NULL DEFAULT TRUE,
    mentions BOOLEAN NOT NULL DEFAULT TRUE,
    reactions BOOLEAN NOT NULL DEFAULT TRUE,
    show_previews BOOLEAN NOT NULL DEFAULT TRUE,
    sound VARCHAR(100) NULL,
    quiet_hours_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    quiet_hours_start TIME NULL,
    quiet_hours_end TIME NULL,
    timezone VARCHAR(100) NOT NULL DEFAULT 'UTC',
    muted_until TIMESTAMP NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

ALTER TABLE notifications.preferences
    ADD COLUMN IF NOT EXISTS push_enabled BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS email_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN IF NOT EXISTS sms_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN IF NOT EXISTS direct_messages BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS group_messages BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS channel_messages BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS mentions BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS reactions BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS show_previews BOOLEAN NOT NULL DEFAULT TRUE,
    ADD COLUMN IF NOT EXISTS sound VARCHAR(100) NULL,
    ADD COLUMN IF NOT EXISTS quiet_hours_enabled BOOLEAN NOT NULL DEFAULT FALSE,
    ADD COLUMN IF NOT EXISTS quiet_hours_start TIME NULL,
    ADD COLUMN IF NOT EXISTS quiet_hours_end TIME NULL,
    ADD COLUMN IF NOT EXISTS timezone VARCHAR(100) NOT NULL DEFAULT 'UTC',
    ADD COLUMN IF NOT EXISTS muted_until TIMESTAMP NULL,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP;

-- One notification to one device: pending → sent → delivered, or failed. At most one for a message and a token.
CREATE TABLE IF NOT EXISTS notifications.deliveries (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    push_token_id UUID NULL REFERENCES notifications.push_tokens(id) ON DELETE SET NULL,
    message_id UUID NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    type VARCHAR(50) NOT NULL DEFAULT 'message',
    provider VARCHAR(50) NOT NULL,
    provider_message_id VARCHAR(255) NULL,
    status VARCHAR(20) NOT NULL DEFAULT 'pending',
    attempts INT NOT NULL DEFAULT 0,
    error TEXT NULL,
    next_attempt_at TIMESTAMP NULL,
    sent_at TIMESTAMP NULL,
    delivered_at TIMESTAMP NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(message_id, push_token_id)
);

ALTER TABLE notifications.deliveries
    ADD COLUMN IF NOT EXISTS user_id UUID NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    ADD COLUMN IF NOT EXISTS push_token_id UUID NULL REFERENCES notifications.push_tokens(id) ON DELETE SET NULL,
    ADD COLUMN IF NOT EXISTS message_id UUID NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    ADD COLUMN IF NOT EXISTS type VARCHAR(50) NOT NULL DEFAULT 'message',
    ADD COLUMN IF NOT EXISTS provider VARCHAR(50) NULL,
    ADD COLUMN IF NOT EXISTS provider_message_id VARCHAR(255) NULL,
    ADD COLUMN IF NOT EXISTS status VARCHAR(20) NOT NULL DEFAULT 'pending',
    ADD COLUMN IF NOT EXISTS attempts INT NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS error TEXT NULL,
    ADD COLUMN IF NOT EXISTS next_attempt_at TIMESTAMP NULL,
    ADD COLUMN IF NOT EXISTS sent_at TIMESTAMP NULL,
    ADD COLUMN IF NOT EXISTS delivered_at TIMESTAMP NULL,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP;

CREATE INDEX IF NOT EXISTS idx_deliveries_user_id ON notifications.deliveries(user_id);
CREATE INDEX IF NOT EXISTS idx_deliveries_push_token_id ON notifications.deliveries(push_token_id);
CREATE INDEX IF NOT EXISTS idx_deliveries_message_id ON notifications.deliveries(message_id);
CREATE INDEX IF NOT EXISTS idx_deliveries_next_attempt_at ON notifications.deliveries(next_attempt_at)
    WHERE next_attempt_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_deliveries_created_at ON notifications.deliveries(created_at DESC);

-- session_id is no foreign key: sessions are deleted when they expire, what happened in them stays.
CREATE TABLE IF NOT EXISTS analytics.events (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NULL REFERENCES auth.users(id) ON DELETE SET NULL,
    session_id UUID NULL,
    name VARCHAR(100) NOT NULL,
    properties JSONB DEFAULT '{}'::jsonb,
    occurred_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

ALTER TABLE analytics.events
    ADD COLUMN IF NOT EXISTS user_id UUID NULL REFERENCES auth.users(id) ON DELETE SET NULL,
    ADD COLUMN IF NOT EXISTS session_id UUID NULL,
    ADD COLUMN IF NOT EXISTS name VARCHAR(100) NULL,
    ADD COLUMN IF NOT EXISTS properties JSONB DEFAULT '{}'::jsonb,
    ADD COLUMN IF NOT EXISTS occurred_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP;

CREATE INDEX IF NOT EXISTS idx_events_user_id ON analytics.events(user_id) WHERE user_id IS NOT NULL;
CREATE INDEX IF NOT EXISTS idx_events_name ON analytics.events(name, occurred_at DESC);
CREATE INDEX IF NOT EXISTS idx_events_occurred_at ON analytics.events(occurred_at DESC);

-- One figure of one day (UTC), such as messages_sent by conversation type: dimension is 'type=group', or '' for the sum.
CREATE TABLE IF NOT EXISTS analytics.daily_metrics (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    day DATE NOT NULL,
    name VARCHAR(100) NOT NULL,
    dimension VARCHAR(100) NOT NULL DEFAULT '',
    value NUMERIC NOT NULL DEFAULT 0,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(day, name, dimension)
);

ALTER TABLE analytics.daily_metrics
    ADD COLUMN IF NOT EXISTS day DATE NULL,
    ADD COLUMN IF NOT EXISTS name VARCHAR(100) NULL,
    ADD COLUMN IF NOT EXISTS dimension VARCHAR(100) NOT NULL DEFAULT '',
    ADD COLUMN IF NOT EXISTS value NUMERIC NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    ADD COLUMN IF NOT EXISTS updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP;

CREATE INDEX IF NOT EXISTS idx_daily_metrics_name ON analytics.daily_metrics(name, day DESC);

CREATE OR REPLACE TRIGGER update_uploads_updated_at
    BEFORE UPDATE ON media.uploads
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE OR REPLACE TRIGGER update_preferences_updated_at
    BEFORE UPDATE ON notifications.preferences
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE OR REPLACE TRIGGER update_deliveries_updated_at
    BEFORE UPDATE ON notifications.deliveries
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE OR REPLACE TRIGGER update_daily_metrics_updated_at
    BEFORE UPDATE ON analytics.daily_metrics
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

-- migrate:down

DROP TABLE analytics.daily_metrics;
DROP TABLE analytics.events;
DROP TABLE notifications.deliveries;
DROP TABLE notifications.preferences;
DROP TABLE media.uploads;
DROP TABLE media.thumbnails;
