"""What machines ask at the root: alive, ready, and the numbers in Prometheus's form."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Response
from fastapi.responses import PlainTextResponse

from factflow_server.api.dependencies import Services
from factflow_server.api.schemas.system import ProbeResponse
from factflow_server.component import overall

router = APIRouter(tags=["probes"])


@router.get("/healthz", operation_id="probe_liveness")
async def probe_liveness() -> ProbeResponse:
    """Tell that the process answers; asks nothing of its parts."""
    return ProbeResponse(status="ok")


@router.get("/readyz", operation_id="probe_readiness", responses={503: {"model": ProbeResponse}})
async def probe_readiness(services: Services, response: Response) -> ProbeResponse:
    """Tell whether work can be given to the server: 503 while it stops or a part does not answer."""
    if services.executions.closed:
        response.status_code = 503
        return ProbeResponse(status="stopping")
    components = await services.health.check()
    if overall(components) != "unhealthy":
        return ProbeResponse(status="ok")
    response.status_code = 503
    ill = [component.name for component in components if component.status == "unhealthy"]
    return ProbeResponse(status=f"unhealthy: {', '.join(ill)}")


@router.get("/metrics", operation_id="scrape_metrics", response_class=PlainTextResponse)
async def scrape_metrics(
    services: Services, accept: Annotated[str, Header(include_in_schema=False)] = ""
) -> Response:
    """Get all numbers as Prometheus or OpenMetrics text."""
    from factflow_server.prometheus import exposition

    text, content_type = exposition(
        await services.metrics.snapshot(),
        await services.health.check(),
        version=services.version,
        uptime_seconds=services.uptime_seconds,
        accept=accept,
    )
    return Response(text, media_type=content_type)
