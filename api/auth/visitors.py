"""Visitors of a website: who they are, and the token that lets them talk to one chatbot there."""

from api._kit.auth import LIFETIME
from api._kit.endpoint import Ctx
from api._kit.errors import ChatbotUnavailable, NotFound, OriginNotAllowed, Unauthenticated
from api._kit.origins import admits
from api.auth.identity import OURS, identified
from api.auth.models import VisitorGrant, VisitorRequest


async def greet(ctx: Ctx, body: VisitorRequest) -> VisitorGrant:
    """A token for the visitor. Raises OriginNotAllowed, ChatbotUnavailable, NotFound, Unauthenticated."""
    deps = ctx.deps
    bot = await deps.bots.find(body.chatbot_id)
    if bot is None:
        raise NotFound
    if not admits(bot.allowed_origins, ctx.origin, same_origin=ctx.same_origin):
        raise OriginNotAllowed(details="add the website's origin to the chatbot's allowed_origins")
    if bot.status != "active":
        raise ChatbotUnavailable
    known = None
    if bot.identity_mode != "off":
        known = identified(body, await deps.identities.accepted(bot.organization_id, bot.id), now=deps.clock.now())
        if known is None and bot.identity_mode == "required":
            raise Unauthenticated("Please sign in to the website first.", details="this chatbot needs an identity")
    user_id = known or body.visitor_id or deps.ids.new("anonymous")
    if known is None and not user_id.startswith(OURS[0]):
        user_id = f"{OURS[0]}{user_id}"
    token = deps.tokens.visitor(user_id, bot.organization_id, bot.id, ctx.origin or deps.origin)
    async with deps.database.uow(bot.organization_id) as tx:
        tx.record(
            "visitor.started",
            {
                "chatbot_id": bot.id,
                "user_id": user_id,
                "verified": known is not None,
                "locale": body.locale,
                "page_url": body.page_url,
                "consent": body.consent,
            },
        )
        await tx.commit()
    return VisitorGrant(
        access_token=token,
        expires_in=LIFETIME,
        user_id=user_id,
        verified=known is not None,
        conversation_id=await deps.conversations.newest(bot, user_id),
    )
