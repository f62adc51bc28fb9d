"""What people say in the demo: to sales, to the service desk, and in passing."""

from crm_events.adapter import Channel

LEAD_SOURCES = ("website", "trade fair", "referral", "newsletter", "partner", "phone")
INQUIRIES = (
    "We are moving to a second site in spring and need about twenty seats.",
    "Could you send us an offer for the yearly plan?",
    "A colleague recommended you. Is there a trial?",
    "Does your service work with the till system that we have?",
    "We met at your stand. Please call me on Thursday.",
    "How long does it take from order to start?",
)
DEALS = ("Yearly plan", "Second site", "Starter package", "Upgrade to team plan", "Service contract", "Refit")
DISQUALIFIED = ("not_interested", "no_budget", "no_fit", "unreachable", "spam")
LOST = ("price", "competitor", "no_decision", "timing")

PROBLEMS = (
    ("Cannot sign in since this morning", "It says that my password is wrong, but I have not changed it."),
    ("Invoice shows the wrong address", "We moved in January. Could you send it again with the new address?"),
    ("Delivery is two days late", "The tracking page has not changed since Monday."),
    ("Export stops at 500 rows", "I need the whole year for our accountant."),
    ("Two cups arrived broken", "I can send you photos of the parcel."),
    ("How do I add a colleague?", "I cannot find the place in the settings."),
    ("Charged twice for March", "My bank shows the amount two times, a minute apart."),
    ("The printer is offline again", "Same trouble as last week, restarting did not help."),
)
FIRST_REPLIES = (
    "Thank you for writing. I am looking into it and will be back within the hour.",
    "Sorry for the trouble. Could you tell me the order number?",
    "I have passed this to our accounts team and stay on it for you.",
)
CUSTOMER_REPLIES = ("Thank you, that was quick.", "The number is on the invoice, 4711.", "It still happens, sadly.")
RESOLUTIONS = ("Sent a corrected invoice.", "Password was reset.", "Replacement is on its way.", "Explained by phone.")
REOPENED = "The customer says that it happened again."

CAMPAIGNS = (
    ("Spring service check", Channel.EMAIL, 0.4),
    ("Open house invitation", Channel.SMS, 0.25),
)
"""Name, channel, and which part of the contacts is in it."""
CAMPAIGN_ANSWERS = (
    "Yes please, book me in.",
    "Is Saturday possible as well?",
    "Not this time, thank you.",
    "Two of us will come.",
)

CONSOLE = "console"
"""Where colleagues write down what happened: it uses the platform's own door, the other adapters Kafka."""
ADAPTERS = {
    Channel.EMAIL: "mail",
    Channel.WEB: "website",
    Channel.CALL: "telephony",
    Channel.CHAT: "chat",
    Channel.SMS: "sms",
    Channel.SOCIAL: "social",
    Channel.ORDER: "webshop",
    Channel.MEETING: CONSOLE,
    Channel.NOTE: CONSOLE,
}
SUBJECTS: dict[Channel, tuple[str, ...]] = {
    Channel.EMAIL: (
        "Your offer of last week",
        "Question about my order",
        "Change of address",
        "Thank you",
        "Minutes of our talk",
        "Documents you asked for",
    ),
    Channel.CALL: ("Called about delivery", "Call back asked for", "Talked through the offer", "No answer"),
    Channel.CHAT: ("Opening hours?", "Is this in stock?", "Where is my parcel?", "Help with signing in"),
    Channel.SMS: ("Appointment confirmed", "Running ten minutes late", "Your parcel is ready"),
    Channel.SOCIAL: ("Mentioned us in a post", "Asked about the new range", "Shared a photo of the shop"),
    Channel.WEB: ("/pricing", "/products/team-plan", "/help/delivery", "/contact", "/blog/spring", "/account"),
    Channel.ORDER: ("Web shop order", "Order by phone", "Repeat order"),
    Channel.MEETING: ("Site visit", "Quarterly review", "Product demonstration", "First meeting"),
    Channel.NOTE: ("Prefers to be called in the afternoon", "Asked for fewer mails", "Knows the team at Rowan"),
}
