-- The schema reference to the letter. What is ours stands in later migrations, and only adds.
-- adopt:same = where another service made these tables already, they are compared instead of created.

-- migrate:up adopt:same

CREATE SCHEMA IF NOT EXISTS auth;
CREATE SCHEMA IF NOT EXISTS users;
CREATE SCHEMA IF NOT EXISTS messages;
CREATE SCHEMA IF NOT EXISTS media;
CREATE SCHEMA IF NOT EXISTS notifications;
CREATE SCHEMA IF NOT EXISTS analytics;
CREATE SCHEMA IF NOT EXISTS location;

CREATE OR REPLACE FUNCTION update_updated_at_column()
RETURNS TRIGGER AS $$
BEGIN
    NEW.updated_at = CURRENT_TIMESTAMP;
    RETURN NEW;
END;
$$ LANGUAGE plpgsql;

CREATE TABLE auth.users (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    phone VARCHAR(20) NOT NULL UNIQUE,
    password_hash VARCHAR(255) NOT NULL,
    verified BOOLEAN DEFAULT FALSE,
    locked BOOLEAN DEFAULT FALSE,
    failed_login_attempts INT DEFAULT 0,
    locked_until TIMESTAMP NULL,
    email VARCHAR(255) NULL UNIQUE,
    email_verified BOOLEAN DEFAULT FALSE,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at TIMESTAMP NULL
);

CREATE INDEX idx_users_phone ON auth.users(phone) WHERE deleted_at IS NULL;
CREATE INDEX idx_users_email ON auth.users(email) WHERE email IS NOT NULL AND deleted_at IS NULL;
CREATE INDEX idx_users_verified ON auth.users(verified) WHERE deleted_at IS NULL;

CREATE TABLE auth.sessions (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    session_token VARCHAR(255) NOT NULL UNIQUE,
    device_id VARCHAR(255) NOT NULL,
    device_name VARCHAR(255) NULL,
    platform VARCHAR(50) NOT NULL,
    device_metadata JSONB DEFAULT '{}'::jsonb,
    ip_address INET NULL,
    user_agent TEXT NULL,
    location JSONB NULL,
    expires_at TIMESTAMP NOT NULL,
    last_activity_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_sessions_user_id ON auth.sessions(user_id);
CREATE INDEX idx_sessions_token ON auth.sessions(session_token);
CREATE INDEX idx_sessions_device_id ON auth.sessions(device_id);
CREATE INDEX idx_sessions_expires_at ON auth.sessions(expires_at);

CREATE TABLE auth.otp_verifications (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    phone VARCHAR(20) NULL,
    email VARCHAR(255) NULL,
    otp_code VARCHAR(6) NOT NULL,
    purpose VARCHAR(50) NOT NULL,
    verified BOOLEAN DEFAULT FALSE,
    attempts INT DEFAULT 0,
    expires_at TIMESTAMP NOT NULL,
    verified_at TIMESTAMP NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_otp_user_id ON auth.otp_verifications(user_id);
CREATE INDEX idx_otp_phone ON auth.otp_verifications(phone) WHERE phone IS NOT NULL;
CREATE INDEX idx_otp_email ON auth.otp_verifications(email) WHERE email IS NOT NULL;
CREATE INDEX idx_otp_expires_at ON auth.otp_verifications(expires_at);

CREATE TABLE auth.refresh_tokens (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    token VARCHAR(255) NOT NULL UNIQUE,
    device_id VARCHAR(255) NOT NULL,
    expires_at TIMESTAMP NOT NULL,
    revoked BOOLEAN DEFAULT FALSE,
    revoked_at TIMESTAMP NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_refresh_tokens_user_id ON auth.refresh_tokens(user_id);
CREATE INDEX idx_refresh_tokens_token ON auth.refresh_tokens(token);
CREATE INDEX idx_refresh_tokens_expires_at ON auth.refresh_tokens(expires_at);

CREATE TABLE auth.oauth_providers (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    provider VARCHAR(50) NOT NULL,
    provider_user_id VARCHAR(255) NOT NULL,
    provider_email VARCHAR(255) NULL,
    access_token TEXT NULL,
    refresh_token TEXT NULL,
    token_expires_at TIMESTAMP NULL,
    profile_data JSONB DEFAULT '{}'::jsonb,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(provider, provider_user_id)
);

CREATE INDEX idx_oauth_user_id ON auth.oauth_providers(user_id);
CREATE INDEX idx_oauth_provider ON auth.oauth_providers(provider, provider_user_id);

CREATE TABLE auth.login_history (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NULL REFERENCES auth.users(id) ON DELETE SET NULL,
    phone VARCHAR(20) NOT NULL,
    success BOOLEAN NOT NULL,
    failure_reason VARCHAR(100) NULL,
    ip_address INET NULL,
    user_agent TEXT NULL,
    device_id VARCHAR(255) NULL,
    location JSONB NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_login_history_user_id ON auth.login_history(user_id);
CREATE INDEX idx_login_history_phone ON auth.login_history(phone);
CREATE INDEX idx_login_history_created_at ON auth.login_history(created_at DESC);
CREATE INDEX idx_login_history_success ON auth.login_history(success);

CREATE TABLE users.profiles (
    user_id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    display_name VARCHAR(100) NOT NULL,
    bio TEXT NULL,
    avatar_url TEXT NULL,
    status VARCHAR(50) DEFAULT 'offline',
    last_seen TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    phone_visible BOOLEAN DEFAULT TRUE,
    profile_visible BOOLEAN DEFAULT TRUE,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_profiles_display_name ON users.profiles(display_name);
CREATE INDEX idx_profiles_status ON users.profiles(status);

CREATE TABLE users.contacts (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    contact_user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    nickname VARCHAR(100) NULL,
    favorite BOOLEAN DEFAULT FALSE,
    blocked BOOLEAN DEFAULT FALSE,
    added_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(user_id, contact_user_id)
);

CREATE INDEX idx_contacts_user_id ON users.contacts(user_id);
CREATE INDEX idx_contacts_contact_user_id ON users.contacts(contact_user_id);
CREATE INDEX idx_contacts_favorite ON users.contacts(favorite) WHERE favorite = TRUE;

CREATE TABLE users.blocked_users (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    blocked_user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    reason VARCHAR(255) NULL,
    blocked_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(user_id, blocked_user_id)
);

CREATE INDEX idx_blocked_users_user_id ON users.blocked_users(user_id);
CREATE INDEX idx_blocked_users_blocked_user_id ON users.blocked_users(blocked_user_id);

CREATE TABLE users.privacy_settings (
    user_id UUID PRIMARY KEY REFERENCES auth.users(id) ON DELETE CASCADE,
    show_last_seen VARCHAR(20) DEFAULT 'everyone',
    show_profile_photo VARCHAR(20) DEFAULT 'everyone',
    show_status VARCHAR(20) DEFAULT 'everyone',
    show_read_receipts BOOLEAN DEFAULT TRUE,
    show_typing_indicator BOOLEAN DEFAULT TRUE,
    allow_group_invites VARCHAR(20) DEFAULT 'everyone',
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE TABLE messages.conversations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    type VARCHAR(20) NOT NULL DEFAULT 'direct',
    name VARCHAR(255) NULL,
    participants JSONB NOT NULL,
    created_by UUID REFERENCES auth.users(id) ON DELETE SET NULL,
    last_message_id UUID NULL,
    last_message_at TIMESTAMP NULL,
    metadata JSONB DEFAULT '{}'::jsonb,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at TIMESTAMP NULL
);

CREATE INDEX idx_conversations_type ON messages.conversations(type);
CREATE INDEX idx_conversations_participants ON messages.conversations USING gin(participants);
CREATE INDEX idx_conversations_last_message_at ON messages.conversations(last_message_at DESC);

CREATE TABLE messages.messages (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    conversation_id UUID NOT NULL REFERENCES messages.conversations(id) ON DELETE CASCADE,
    from_user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    to_user_id UUID NULL REFERENCES auth.users(id) ON DELETE SET NULL,
    content TEXT NOT NULL,
    type VARCHAR(50) NOT NULL DEFAULT 'text',
    reply_to_id UUID NULL REFERENCES messages.messages(id) ON DELETE SET NULL,
    forwarded_from_id UUID NULL REFERENCES messages.messages(id) ON DELETE SET NULL,
    edited BOOLEAN DEFAULT FALSE,
    deleted BOOLEAN DEFAULT FALSE,
    metadata JSONB DEFAULT '{}'::jsonb,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at TIMESTAMP NULL
);

CREATE INDEX idx_messages_conversation_id ON messages.messages(conversation_id, created_at DESC);
CREATE INDEX idx_messages_from_user_id ON messages.messages(from_user_id);
CREATE INDEX idx_messages_to_user_id ON messages.messages(to_user_id);
CREATE INDEX idx_messages_reply_to_id ON messages.messages(reply_to_id) WHERE reply_to_id IS NOT NULL;
CREATE INDEX idx_messages_created_at ON messages.messages(created_at DESC);

CREATE TABLE messages.delivery_tracking (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    status VARCHAR(20) NOT NULL DEFAULT 'sent',
    delivered_at TIMESTAMP NULL,
    read_at TIMESTAMP NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(message_id, user_id)
);

CREATE INDEX idx_delivery_tracking_message_id ON messages.delivery_tracking(message_id);
CREATE INDEX idx_delivery_tracking_user_id ON messages.delivery_tracking(user_id);
CREATE INDEX idx_delivery_tracking_status ON messages.delivery_tracking(status);

CREATE TABLE messages.reactions (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    emoji VARCHAR(10) NOT NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(message_id, user_id, emoji)
);

CREATE INDEX idx_reactions_message_id ON messages.reactions(message_id);
CREATE INDEX idx_reactions_user_id ON messages.reactions(user_id);

CREATE TABLE messages.threads (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    reply_message_id UUID NOT NULL REFERENCES messages.messages(id) ON DELETE CASCADE,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(parent_message_id, reply_message_id)
);

CREATE INDEX idx_threads_parent_message_id ON messages.threads(parent_message_id);
CREATE INDEX idx_threads_reply_message_id ON messages.threads(reply_message_id);

CREATE TABLE media.files (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    message_id UUID NULL REFERENCES messages.messages(id) ON DELETE SET NULL,
    file_name VARCHAR(255) NOT NULL,
    file_type VARCHAR(100) NOT NULL,
    file_size BIGINT NOT NULL,
    mime_type VARCHAR(100) NOT NULL,
    storage_path TEXT NOT NULL,
    url TEXT NOT NULL,
    width INT NULL,
    height INT NULL,
    duration INT NULL,
    checksum VARCHAR(64) NOT NULL,
    metadata JSONB DEFAULT '{}'::jsonb,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    deleted_at TIMESTAMP NULL
);

CREATE INDEX idx_media_files_user_id ON media.files(user_id);
CREATE INDEX idx_media_files_message_id ON media.files(message_id);
CREATE INDEX idx_media_files_file_type ON media.files(file_type);
CREATE INDEX idx_media_files_created_at ON media.files(created_at DESC);

CREATE TABLE notifications.push_tokens (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id UUID NOT NULL REFERENCES auth.users(id) ON DELETE CASCADE,
    device_id VARCHAR(255) NOT NULL,
    platform VARCHAR(50) NOT NULL,
    token TEXT NOT NULL,
    active BOOLEAN DEFAULT TRUE,
    last_used_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    UNIQUE(device_id, platform)
);

CREATE INDEX idx_push_tokens_user_id ON notifications.push_tokens(user_id);
CREATE INDEX idx_push_tokens_active ON notifications.push_tokens(active) WHERE active = TRUE;

CREATE TABLE location.phone_locations (
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(),
    country_code VARCHAR(5) NOT NULL,
    country VARCHAR(100) NOT NULL,
    country_name VARCHAR(255) NOT NULL,
    region VARCHAR(255) NULL,
    timezone VARCHAR(100) NULL,
    carrier VARCHAR(255) NULL,
    created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);

CREATE INDEX idx_phone_locations_country_code ON location.phone_locations(country_code);

CREATE TRIGGER update_users_updated_at
    BEFORE UPDATE ON auth.users
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE TRIGGER update_oauth_providers_updated_at
    BEFORE UPDATE ON auth.oauth_providers
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE TRIGGER update_profiles_updated_at
    BEFORE UPDATE ON users.profiles
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE TRIGGER update_privacy_settings_updated_at
    BEFORE UPDATE ON users.privacy_settings
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE TRIGGER update_conversations_updated_at
    BEFORE UPDATE ON messages.conversations
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE TRIGGER update_messages_updated_at
    BEFORE UPDATE ON messages.messages
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE TRIGGER update_phone_locations_updated_at
    BEFORE UPDATE ON location.phone_locations
    FOR EACH ROW
    EXECUTE FUNCTION update_updated_at_column();

CREATE OR REPLACE FUNCTION cleanup_expired_sessions()
RETURNS void AS $$
BEGIN
    DELETE FROM auth.sessions
    WHERE expires_at < CURRENT_TIMESTAMP;
END;
$$ LANGUAGE plpgsql;

-- migrate:down

DROP FUNCTION cleanup_expired_sessions();
DROP TABLE location.phone_locations;
DROP TABLE notifications.push_tokens;
DROP TABLE media.files;
DROP TABLE messages.threads;
DROP TABLE messages.reactions;
DROP TABLE messages.delivery_tracking;
DROP TABLE messages.messages;
DROP TABLE messages.conversations;
DROP TABLE users.privacy_settings;
DROP TABLE users.blocked_users;
DROP TABLE users.contacts;
DROP TABLE users.profiles;
DROP TABLE auth.login_history;
DROP TABLE auth.oauth_providers;
DROP TABLE auth.refresh_tokens;
DROP TABLE auth.otp_verifications;
DROP TABLE auth.sessions;
DROP TABLE auth.users;
DROP FUNCTION update_updated_at_column();

DROP SCHEMA location;
DROP SCHEMA analytics;
DROP SCHEMA notifications;
DROP SCHEMA media;
DROP SCHEMA messages;
DROP SCHEMA users;
DROP SCHEMA auth;
