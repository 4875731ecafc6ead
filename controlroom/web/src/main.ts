import 'design-tokens-italia/dist/css/variables.css';
import './app.css';
import './feed/begin';

// What is needed first is small: the feed's thread begins, and the page's own code comes beside it.
void import('./start');
