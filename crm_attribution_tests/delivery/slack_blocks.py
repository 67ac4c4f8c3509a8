"""What Slack documents of the parts of a message that alerts use, as a strict schema (`Message.model_json_schema()`).

* the message of an incoming webhook: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks
* attachments: https://docs.slack.dev/legacy/legacy-messaging/legacy-secondary-message-attachments (at most 100, colour
  as hex or good, warning, danger)
* blocks, at most 50: https://docs.slack.dev/reference/block-kit/blocks
* header: https://docs.slack.dev/reference/block-kit/blocks/header-block (plain text of up to 150 characters)
* section: https://docs.slack.dev/reference/block-kit/blocks/section-block (text of up to 3,000)
* context: https://docs.slack.dev/reference/block-kit/blocks/context-block (up to 10 elements)
* text objects: https://docs.slack.dev/reference/block-kit/composition-objects/text-object (1 to 3,000 characters;
  `emoji` of plain text only, `verbatim` of mrkdwn only)
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Plain(_Part):
    type: Literal["plain_text"]
    text: Annotated[str, Field(min_length=1, max_length=3000)]
    emoji: bool = True


class Title(Plain):
    text: Annotated[str, Field(min_length=1, max_length=150)]


class Mrkdwn(_Part):
    type: Literal["mrkdwn"]
    text: Annotated[str, Field(min_length=1, max_length=3000)]
    verbatim: bool = False


class Header(_Part):
    type: Literal["header"]
    text: Title


class Section(_Part):
    type: Literal["section"]
    text: Plain | Mrkdwn


class Context(_Part):
    type: Literal["context"]
    elements: Annotated[list[Plain | Mrkdwn], Field(min_length=1, max_length=10)]


Blocks = Annotated[list[Header | Section | Context], Field(min_length=1, max_length=50)]


class Attachment(_Part):
    color: Annotated[str, Field(pattern="^(#[0-9a-fA-F]{6}|good|warning|danger)$")]
    fallback: str
    blocks: Blocks


class Message(_Part):
    text: Annotated[str, Field(min_length=1, max_length=40_000)]
    attachments: Annotated[list[Attachment], Field(max_length=100)] = []
