INSERT INTO blobs (sha256, md5, size_bytes, encoding, content_sha256, content_md5, content_bytes)
VALUES ('aa', 'bb', 900, '', 'aa', 'bb', 900);
INSERT INTO releases (id, application, version, sequence, kind, channel, downgrade, withdrawn, signed_by, notes, blob_sha256, created)
VALUES (1, 'garden', '2.0.0', 2, 'application', 'stable', false, false, '', '', 'aa', 1790000000);
INSERT INTO boards (id, mac, state, label, group_name, channel, assigned, pin_id, application, version, sequence, floor, md5, outcome, sdk, address, first_seen, last_seen)
VALUES (1, '5CCF7FC0FF02', 'accepted', 'well', 'lab', 'stable', '', 1, 'garden', '1.0.0', 1, 1, 'cc', 'taken back: 2: raised OSError: 5', '2.2.0', '10.0.0.7', 1790000000, 1790000100);
INSERT INTO rollouts (id, release_id, state, why, groups, phase, soaked_s, abort_share, abort_minimum, tries, timeout_s, created)
VALUES (1, 1, 'running', '', '["lab"]', 0, 12.5, 0.2, 5, 3, 86400, 1790000000);
INSERT INTO phases (rollout_id, number, percent, soak_s, needed, groups, began)
VALUES (1, 0, 30, 3600, 1, '[]', 1790000000), (1, 1, 100, 0, 0, '[]', NULL);
INSERT INTO attempts (id, board_id, release_id, rollout_id, state, words, was, tries, forgiven, began_running_s, offered_running_s, offered, ended)
VALUES (1, 1, 1, 1, 'reverted', 'taken back: 2: raised OSError: 5', '1.0.0', 1, false, 3, 3, 1790000003, 1790000090);
INSERT INTO operators (id, name, password_hash, scopes, must_change, created)
VALUES (1, 'admin', 'x', '["admin"]', true, 1790000000);
INSERT INTO tokens (id, operator_id, name, token_sha256, scopes, created)
VALUES (1, 1, 'ci', 'dd', '["read"]', 1790000000);
INSERT INTO audit (id, at, operator, address, what, target, detail)
VALUES (1, 1790000000, 'admin', '10.0.0.1', 'rollout started', '1', 'garden 2.0.0')
