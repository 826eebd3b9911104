# Store a pipeline, run it, wait for it as one pipe does.
CONFIG_ID=$(factflow config create -f pipelines/site.yaml | jq -r .id)
factflow config run "$CONFIG_ID" --init sitemap_url="$SITE/sitemap.xml" --tag "$RUN" \
    | jq -r .execution_id | xargs factflow execution wait
SRC_ID=$(factflow execution get "$RUN" | jq -r .execution_id)
keep CONFIG_ID SRC_ID
