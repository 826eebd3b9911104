# The replay is an execution like any other: run one of its stages again, and follow a message back.
AGAIN_ID=$(factflow execution replay "$REPLAY_ID" --from-stage markdown --rerun | jq -r .execution_id)
factflow execution wait "$AGAIN_ID"
factflow execution diff "$SRC_ID" "$AGAIN_ID" --stage markdown
factflow execution tree "$AGAIN_ID" --output table
LINEAGE_ID=$(factflow lineage list --execution "$AGAIN_ID" | jq -r '.entries[0].id')
CHAIN=$(factflow lineage chain "$LINEAGE_ID" --across-replays \
    | jq -r '[.ancestors[].execution_id, .entry.execution_id] | unique | join(" ")')
keep AGAIN_ID CHAIN
