# Is everything still there? Then continue behind the scraper, without fetching a page.
factflow storage list --execution "$SRC_ID" | head
factflow execution replay "$SRC_ID" --from-stage web_scraper --dry-run
factflow execution replay "$SRC_ID" --from-stage web_scraper \
    | jq -r .execution_id > replay.id
xargs factflow execution wait < replay.id
REPLAY_ID=$(cat replay.id)
factflow execution diff "$SRC_ID" "$REPLAY_ID"
keep REPLAY_ID
