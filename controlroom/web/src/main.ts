import { mount } from 'svelte';
import 'design-tokens-italia/dist/css/variables.css';
import './app.css';
import App from './App.svelte';

mount(App, { target: document.getElementById('app')! });
