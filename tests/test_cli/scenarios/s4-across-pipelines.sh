# What one pipeline stored goes into another route: of its own snapshot, then of another pipeline.
factflow config edit "$CONFIG_ID" -f pipelines/edited.yaml
INTO_ID=$(factflow execution replay "$SRC_ID" \
    --from-stage markdown \
    --to-route segments_route | jq -r .execution_id)
factflow execution wait "$INTO_ID"

CURL_ID=$(curl -s -X POST "$FACTFLOW_SERVER_URL/api/v1/executions/$SRC_ID/replay" \
    -H 'Content-Type: application/json' \
    -d '{"from_stage": "markdown", "to_route": "segments_route"}' | jq -r .execution_id)
factflow execution wait "$CURL_ID"

OTHER_CONFIG=$(factflow config create -f pipelines/segments.yaml | jq -r .id)
OTHER_ID=$(factflow execution replay "$SRC_ID" --from-stage markdown --to-route segments_route \
    --config "$OTHER_CONFIG" | jq -r .execution_id)
factflow execution wait "$OTHER_ID"
keep INTO_ID CURL_ID OTHER_CONFIG OTHER_ID
