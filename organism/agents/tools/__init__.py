"""Tools of agents: functions, agents as tools, tools of servers, and the loop that calls them."""
